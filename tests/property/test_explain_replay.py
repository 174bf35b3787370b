"""What is replayed to explain the past is that past: through applies with every rule for runs in
flight, pauses, archivings and holdouts, at any moment of a life."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given

from services.console.simulate import Past, Simulation
from services.console.simulation.observed import Decided, Observed
from services.console.simulation.record import Known, KnownCall, OnRecord
from services.journey.core.effects import MakeCall, QueueMessage
from services.journey.core.state import Customer
from services.journey.deciding import NO_HISTORY
from shared.decisions import Reason
from shared.event import Event, decode, decode_unstamped
from shared.workspace import WorkspaceSettings
from tests.property import engine_model
from tests.property.engine_journeys import Input, inputs, profile
from tests.property.engine_model import WHO, Alone, Telling, live
from tests.property.test_engine_batches import tellings
from tests.property.test_engine_worlds import World, prompt_resumes, worlds

__all__ = ["prompt_resumes"]


@pytest.fixture(autouse=True, scope="module")
def no_receipts() -> Iterator[None]:
    """When an outcome was learnt is not stored, and a receipt may have come in between."""
    patch = pytest.MonkeyPatch()
    patch.setattr(engine_model, "_receipts", lambda *_: ())
    yield
    patch.undo()


def on_record(model: Alone, log: Sequence[Event]) -> OnRecord:
    """What the tables of messages and calls would say.

    What is emitted behind the end of the log never comes, there as here.
    """
    messages = {m.id: Known() for m in model.made.values() if isinstance(m, QueueMessage)}
    calls = {m.id: KnownCall() for m in model.made.values() if isinstance(m, MakeCall)}
    for event in log:
        if event.kind != "outcome":
            continue
        told = event.properties
        reason = None if told.get("reason") is None else Reason(told["reason"])
        if "call_id" in told:
            call = KnownCall(event.timestamp, told["outcome"], reason, told.get("response"))
            calls.setdefault(told["call_id"], call)
            calls[told["call_id"]] = call
        else:
            decision, channel = told["decision"], told["channel"]
            messages[told["message_id"]] = Known(event.timestamp, decision, channel, reason)
    return OnRecord(
        messages, calls, frozenset(decode_unstamped(raw).id for raw in model.told.emitted)
    )


@profile(60)
@given(world=worlds, inputs=inputs, tellings=tellings)
def test_a_replay_makes_the_messages_that_were_made_and_leaves_the_runs_where_they_are(
    world: World, inputs: Sequence[Input], tellings: Sequence[Telling]
) -> None:
    book = world.book()
    life = live(book, inputs, [replace(each, learnt=each.learnt * 0) for each in tellings])
    model, log, stored = Alone(book), list[Event](), list[Event]()
    for record in life.log:
        event = decode(record.payload, record.received_at)
        known = len(model.told.history)
        model.record(record)
        log.append(event)
        if len(model.told.history) > known and event.kind not in NO_HISTORY:
            stored.append(event)
    model.tick(life.end)

    made: list[tuple[str, object]] = []
    customers: list[Customer] = []

    def observe(observed: Observed) -> None:
        if isinstance(observed, Decided):
            customers.append(observed.decision.customer)
            effects = observed.decision.effects
            made.extend((e.id, e.at) for e in effects if isinstance(e, QueueMessage | MakeCall))

    past = Past(book, on_record(model, log))
    Simulation({}, WorkspaceSettings(), observe, past=past).run(stored, life.end)
    assert sorted(made) == sorted((each.id, each.at) for each in model.made.values())
    runs = customers[-1].state.runs if customers else ()
    assert [(run.id, run.step, run.waiting) for run in runs] == [
        (run.id, run.step, run.waiting) for run in model.customer.state.runs
    ]
    assert all(customer.id == WHO for customer in customers)
