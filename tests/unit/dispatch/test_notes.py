"""What is kept of a provider's words: bounded, on one line, and nobody's address or number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatch.receipts.notes import LONGEST, told


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("3019", "3019"),
        ("550 5.1.1 <ann@shop.example>: user unknown", "550 5.1.1 <…>: user unknown"),
        (
            "550-5.1.1\r\n550 see https://help.example/?p=1",
            "550-5.1.1 550 see https://help.example/?p=1",
        ),
        ("to 010-1234-5678, +82 10 1234 5678 and 01012345678", "to …, … and …"),
        ("smtp; 452 4.2.2; full", "smtp, 452 4.2.2, full"),
        ("2026-03-02 23:00 3005", "2026-03-02 23:00 3005"),
        ("", ""),
    ],
)
def test_words_stay_and_people_go(said: str, kept: str) -> None:
    assert told(said) == kept


def test_the_recipient_is_taken_out_however_it_is_written() -> None:
    assert told("no such number 1012345678", "+821012345678") == "no such number …"


@given(st.text(max_size=2000))
def test_whatever_is_said_is_bounded_and_one_note(said: str) -> None:
    kept = told(said)
    assert len(kept) <= LONGEST
    assert ";" not in kept
    assert "\n" not in kept
    assert told(kept) == kept
