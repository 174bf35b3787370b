"""However the log is cut into batches and however often one is decided again, the same becomes of
the customer as when every record is decided alone."""

from collections.abc import Sequence
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.property.engine_journeys import MINUTE, SECOND, Input, book_of, compiled, inputs, profile
from tests.property.engine_journeys import sources as some_sources
from tests.property.engine_model import Cut, Telling, alone, in_batches, live, same

_delays = st.sampled_from(
    (timedelta(0), SECOND, MINUTE, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE, timedelta(hours=9))
)
tellings = st.lists(
    st.builds(
        Telling,
        decision=st.sampled_from(("sent", "sent", "dropped", "failed", "unknown", None)),
        after=_delays,
        learnt=_delays,
        twice=st.booleans(),
    ),
    min_size=1,
    max_size=6,
)
cuts = st.lists(
    st.builds(
        Cut,
        records=st.sampled_from((0, 1, 1, 2, 3, 5, 8)),
        at_end=st.booleans(),
        share=st.sampled_from((0.0, 0.01, 0.5, 1.0, None, None)),
        failures=st.sampled_from((0, 0, 1, 2)),
        rows=st.sampled_from((1, 2, 1000)),
    ),
    min_size=1,
    max_size=6,
)


@profile(400)
@given(sources=some_sources, inputs=inputs, tellings=tellings, cuts=cuts)
def test_batches_and_repetitions_change_nothing(
    sources: Sequence[str],
    inputs: Sequence[Input],
    tellings: Sequence[Telling],
    cuts: Sequence[Cut],
) -> None:
    book = book_of([compiled(source) for source in sources])
    life = live(book, inputs, tellings)
    model = alone(book, life)
    same(model, life.told, life.log, "each timer in its own time")
    same(model, in_batches(book, life, cuts), life.log, f"in batches {cuts}")


MEASURED = """
journey: measured
trigger: {event: Added}
steps:
  - set: {profile.age: now - trigger.at}
  - wait: 5m
  - branch:
      - when: profile.age < "2m"
        steps: [{send: push, template: t, id: fresh}]
"""


def test_a_trait_that_a_step_has_set_is_the_same_when_it_is_read_again() -> None:
    added = Input(timedelta(0), "Added", "a", 1, skew=MINUTE)
    viewed = Input(10 * MINUTE, "Viewed", "a", 1, skew=timedelta(0))
    book = book_of([compiled(MEASURED)])
    life = live(book, [added, viewed], [Telling(None, MINUTE, MINUTE)])
    one_by_one = in_batches(book, life, [Cut(1, False, 0.0, 0, 1000)])
    same(alone(book, life), one_by_one, life.log, "read again between the two events")
