"""What the profile says of traits that count as absent."""

import pytest

from services.console.absent import absent_traits


@pytest.mark.parametrize(
    ("traits", "country", "said"),
    [
        ({}, None, {}),
        ({"timezone": "Asia/Seoul", "email": "a@shop.example", "phone": "+821012345678"}, None, {}),
        ({"phone": "010-1234-5678", "push_token": "t"}, "KR", {}),
        ({"timezone": "Mars/Olympus"}, None, {"timezone": "no IANA time zone; UTC is used"}),
        ({"timezone": 9}, None, {"timezone": "`9` is no IANA time zone"}),
        ({"email": "a at shop"}, None, {"email": "no e-mail address"}),
        ({"phone": "010-1234-5678"}, None, {"phone": "need `country`"}),
        ({"phone": "12"}, "KR", {"phone": "no possible number in KR"}),
        ({"push_token": ""}, None, {"push_token": "no token"}),
    ],
)
def test_a_trait_that_counts_as_absent_says_why(
    traits: dict[str, object], country: str | None, said: dict[str, str]
) -> None:
    found = {row.trait: row.why for row in absent_traits(traits, country, "UTC")}
    assert set(found) == set(said)
    assert all(words in found[trait] for trait, words in said.items())
