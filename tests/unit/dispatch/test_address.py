import pytest

from shared.address import address_hash, address_of, email_address, phone_number, push_token


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ann@shop.example", "ann@shop.example"),
        ("  Ann.B+tag@Shop.EXAMPLE ", "Ann.B+tag@shop.example"),
        ("ann@한국.kr", "ann@xn--3e0b707e.kr"),
        ("ann", None),
        ("@shop.example", None),
        ("ann@shop", None),
        ("ann@shop..example", None),
        ("ann@-shop.example", None),
        ("ann@shop.example\nBcc: x@y.example", None),
        ("a b@shop.example", None),
        ("안녕@shop.example", None),
        ("a" * 65 + "@shop.example", None),
        ("ann@" + "a." * 126 + "com", None),
        ("ann@1.2.3.4", None),
    ],
)
def test_an_email_address_has_one_form_or_none(text: str, address: str | None) -> None:
    assert email_address(text) == address


@pytest.mark.parametrize(
    ("text", "country", "number"),
    [
        ("010-1234-5678", "KR", "+821012345678"),
        ("010-1234-5678", "kr", "+821012345678"),
        ("+82 10 1234 5678", None, "+821012345678"),
        ("+4915100000000", "KR", "+4915100000000"),
        ("010-1234-5678", None, None),
        ("12", "KR", None),
        ("call me", "KR", None),
    ],
)
def test_a_phone_number_is_kept_as_e164(text: str, country: str | None, number: str | None) -> None:
    assert phone_number(text, country) == number


def test_a_push_token_is_any_printable_text() -> None:
    assert push_token(" abc ") == "abc"
    assert push_token("") is None
    assert push_token("a\x00b") is None


@pytest.mark.parametrize(
    ("channel", "traits", "address"),
    [
        ("sms", {"phone": 821012345678}, None),
        ("sms", {"phone": "+821012345678"}, "+821012345678"),
        ("sms", {"phone": True}, None),
        ("email", {"email": None}, None),
        ("email", {"email": ["a@b.example"]}, None),
        ("push", {"push_token": "t"}, "t"),
        ("slack", {}, "u1"),
        ("unknown", {"email": "a@b.example"}, None),
    ],
)
def test_each_channel_reads_its_trait(
    channel: str, traits: dict[str, object], address: str | None
) -> None:
    assert address_of(channel, "u1", traits, None) == address


def test_a_hash_ignores_the_case_of_emails_and_needs_the_key() -> None:
    assert address_hash("email", "Ann@x.example", b"k") == address_hash(
        "email", "ann@x.example", b"k"
    )
    assert address_hash("email", "ann@x.example", b"k") != address_hash(
        "email", "ann@x.example", b"l"
    )
    assert len(address_hash("phone", "+821012345678", b"k")) == 32
