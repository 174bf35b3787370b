"""Sizes of Korean text messages."""

import pytest

from shared.sms import hint_for, size_of


@pytest.mark.parametrize(
    ("text", "size", "kind"),
    [
        ("가" * 45, 90, "SMS"),
        ("가" * 46, 92, "LMS"),
        ("뷁", 2, "SMS"),  # eight bytes in Python's euc_kr
        ("a" * 90, 90, "SMS"),
        ("가" * 1000, 2000, "LMS"),
        ("가" * 1001, 2002, "too long"),
        ("", 0, "SMS"),
        ("①★♥·“”…￦", 16, "SMS"),
    ],
)
def test_bytes_are_counted_as_carriers_do(text: str, size: int, kind: str) -> None:
    found = size_of(text)
    assert (found.bytes, found.kind, found.unsendable) == (size, kind, ())


def test_what_cannot_be_carried_is_named_once_in_order() -> None:
    found = size_of("₩5,000 — é, ₩1 🎉")
    assert found.unsendable == ("₩", "—", "é", "🎉")
    assert hint_for(found.unsendable).startswith("`₩` → `원`; `—` → `-`")
    assert "leave them out" in hint_for(("🎉",))
