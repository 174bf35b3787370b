"""The functions that conditions call in PostgreSQL read and reckon as the closures do."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

from services.journey.language.expressions.values import ARITHMETIC, duration_of, instant_of
from shared.clock import EPOCH
from shared.db.connect import Pool

_YEARS = (0, 1, 1900, 2000, 2024, 2025, 9999)
_ZONES = ("", "", "Z", "z", "+09", "-0930", "+23:59", "-23:59", "+24:00", "+5", "+09:60", "-00:00")
_COUNTS = (0, 1, 30, 90, 3660, 522, 523, 999_999_999, 10**9)
_NUMBERS: tuple[float, ...] = (
    *(0, 1, -1, 3, 10, 2**53, 2**53 + 1, 2**62, 2**63 - 1, -(2**63), 0.0, 0.1, 0.2, 0.3, 1.5, 5.0),
    *(1e17, 1e-300, 5e-324, 2.5e-310, -1e-200, 1e200, -1.7976931348623157e308, 99.99, 1 / 3),
)


def _spoilt(random: Random, text: str) -> str:
    """Now and then with another character somewhere."""
    if not text or random.random() > 0.1:
        return text
    at = random.randrange(len(text))
    return text[:at] + random.choice("0-:TZ x\u0663\n+") + text[at + 1 :]


def _instant(random: Random) -> str:
    day = f"{random.choice(_YEARS):04}-{random.randrange(14):02}-{random.randrange(33):02}"
    time = f"{random.randrange(26):02}:{random.randrange(62):02}"
    second = f":{random.randrange(62):02}"
    digits = "".join(random.choice("0123456789") for _ in range(random.randrange(11)))
    fraction = random.choice(".,:") + digits
    parts = random.choice([(), ("T", time), (" ", time, second), ("T", time, second, fraction)])
    return _spoilt(random, day + "".join(parts) + random.choice(_ZONES))


def _duration(random: Random) -> str:
    parts = [f"{random.choice(_COUNTS)}{unit}" for unit in "wdhms" if random.random() < 0.4]
    text = "".join(parts)
    ways = [text, text, text, text + " ", text[::-1], text.upper(), text + "0", "+" + text]
    return _spoilt(random, random.choice(ways))


async def _agree(
    pool: Pool, function: str, texts: list[str], read: Callable[[str], timedelta | None]
) -> None:
    found = await pool.fetchval(
        f"SELECT array_agg({function}(t) ORDER BY n)"
        " FROM unnest($1::text[]) WITH ORDINALITY AS u(t, n)",
        texts,
    )
    wanted = [read(text) for text in texts]
    microseconds = [None if w is None else Decimal(w // timedelta(microseconds=1)) for w in wanted]
    assert dict(zip(texts, found, strict=True)) == dict(zip(texts, microseconds, strict=True))
    assert sum(each is not None for each in wanted) > len(texts) / 10


async def test_instants_are_read_alike(pool: Pool) -> None:
    random = Random(1)

    def since_epoch(text: str) -> timedelta | None:
        instant = instant_of(text)
        return None if instant is None else instant - EPOCH

    await _agree(pool, "dangol_instant", [_instant(random) for _ in range(20_000)], since_epoch)


async def test_durations_are_read_alike(pool: Pool) -> None:
    random = Random(2)
    texts = [_duration(random) for _ in range(20_000)]
    await _agree(pool, "dangol_duration", texts, duration_of)


def _numeric(number: float) -> Decimal:
    """As JSON spells it: a fraction keeps its decimal place."""
    text = repr(number)
    return Decimal(text if isinstance(number, int) or "e" not in text else f"{Decimal(text):f}")


async def test_numbers_are_reckoned_alike(pool: Pool) -> None:
    random = Random(3)
    numbers = [*_NUMBERS, *(random.uniform(-1e6, 1e6) for _ in range(20))]
    numbers += [random.randrange(-(10**12), 10**12) for _ in range(10)]
    cases = [(s, a, b) for s in "+-*/" for a in numbers for b in numbers]
    found = await pool.fetchval(
        "SELECT array_agg(dangol_arithmetic(s, a, b)::text ORDER BY n) FROM"
        " unnest($1::text[], $2::numeric[], $3::numeric[]) WITH ORDINALITY AS u(s, a, b, n)",
        [symbol for symbol, _, _ in cases],
        [_numeric(a) for _, a, _ in cases],
        [_numeric(b) for _, _, b in cases],
    )
    for (symbol, a, b), result in zip(cases, found, strict=True):
        a, b = _as_read(a), _as_read(b)
        wanted: Any = ARITHMETIC[symbol](a, b)
        got = None if result is None else float(result) if "." in result else int(result)
        assert got == wanted, (symbol, a, b)
        assert type(got) is type(wanted), (symbol, a, b)


def _as_read(number: float) -> float:
    """A fraction without decimal places comes back from JSON as a whole number."""
    text = f"{_numeric(number):f}"
    return float(text) if "." in text else int(text)
