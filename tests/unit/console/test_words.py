"""Every reason has a sentence in both languages."""

import pytest

from services.console.words import ENDS, REASONS, REFUSALS, language_of, sentences
from shared.decisions import Reason, Refusal


def test_every_reason_and_refusal_has_its_words() -> None:
    assert set(REASONS) == set(Reason)
    assert set(REFUSALS) == set(Refusal)
    assert len(sentences("en")) == len(Reason) + len(Refusal) + len(ENDS)


@pytest.mark.parametrize("words", [*REASONS.values(), *REFUSALS.values(), *ENDS.values()])
def test_words_are_whole_sentences_in_their_language(words: tuple[str, str]) -> None:
    english, korean = words
    assert english.endswith(".")
    assert english.isascii()
    assert korean.endswith("니다.")


def test_no_two_reasons_say_the_same() -> None:
    for language in ("en", "ko"):
        said = sentences(language)
        assert len(set(said.values())) == len(said)


@pytest.mark.parametrize(
    ("wanted", "accepted", "language"),
    [
        ("ko", "en", "ko"),
        ("en", "ko", "en"),
        ("fr", "ko", "ko"),
        (None, None, "en"),
        (None, "", "en"),
        (None, "ko-KR,ko;q=0.9,en;q=0.8", "ko"),
        (None, "en-GB,ko;q=0.9", "en"),
        (None, "ko;q=0.3,en;q=0.8", "en"),
        (None, "fr,de", "en"),
        (None, "fr, ko;q=0.1", "ko"),
        (None, "ko;q=0,en", "en"),
        (None, "ko;q=nonsense", "en"),
        (None, "*;q=0.5, , ;;;q=,=", "en"),
    ],
)
def test_the_language_is_the_one_asked_for_or_the_first_that_we_speak(
    wanted: str | None, accepted: str | None, language: str
) -> None:
    assert language_of(wanted, accepted) == language
