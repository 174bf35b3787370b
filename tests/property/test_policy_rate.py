"""A rate lets through what it says, whoever asks, however often and when."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.dispatch.policy.rate import BURST, Bucket

rates = st.floats(0.001, 5000)
steps = st.lists(st.tuples(st.floats(0, 3), st.integers(0, 30)), min_size=1, max_size=60)
"""After so many seconds so many messages want to go."""


def run(rate: float, asked: list[tuple[float, int]]) -> list[float]:
    """The instants at which messages were let through."""
    bucket, now, gone = Bucket(rate), 0.0, []
    for pause, wanted in asked:
        now += pause
        bucket = bucket.after(pause)
        for _ in range(wanted):
            if bucket.places:
                bucket = bucket.take()
                gone.append(now)
    return gone


@given(rates, steps)
def test_no_window_holds_more_than_its_length_allows(
    rate: float, asked: list[tuple[float, int]]
) -> None:
    gone = run(rate, asked)
    burst = max(1.0, rate * BURST)
    for first in range(len(gone)):
        for last in range(first, len(gone)):
            window = gone[last] - gone[first]
            assert last - first + 1 <= rate * window + burst + 1e-3 * (1 + rate * 1e-3)


@given(rates, st.integers(1, 300))
def test_who_asks_at_the_instants_it_names_loses_nothing(rate: float, wanted: int) -> None:
    bucket, now = Bucket(rate), 0.0
    for _ in range(wanted):
        pause = bucket.seconds_until(1)
        now += pause
        bucket = bucket.after(pause)
        assert bucket.places >= 1
        bucket = bucket.take()
    assert now <= max(0.0, wanted - bucket.size + 1) / rate + 1e-3


@given(rates, steps)
def test_a_full_bucket_says_exactly_when_the_next_place_comes(
    rate: float, asked: list[tuple[float, int]]
) -> None:
    bucket = Bucket(rate)
    for pause, wanted in asked:
        bucket = bucket.after(pause)
        for _ in range(wanted):
            if not bucket.places:
                break
            bucket = bucket.take()
        if not bucket.places:
            wait = bucket.seconds_until(1)
            assert wait > 0
            assert bucket.after(wait + 2e-6).places == 1 or bucket.size >= 2
            if wait > 1e-4:
                assert bucket.after(wait / 2).places == 0


@given(rates, st.integers(1, 50))
def test_what_did_not_go_gives_its_place_back(rate: float, taken: int) -> None:
    bucket = Bucket(rate)
    states = [bucket]
    for _ in range(min(taken, bucket.places)):
        states.append(states[-1].take())
    for before, after in pairwise(states):
        assert abs(after.put_back().ahead - before.ahead) < 1e-6


@given(rates, rates, st.floats(0, 10_000))
def test_a_changed_rate_is_soon_in_force(old: float, new: float, ahead: float) -> None:
    changed = Bucket(old, ahead).at_rate(new)
    assert changed.rate == new
    assert changed.places >= 1
    assert changed.take().ahead <= changed.size / new + 1e-6
