"""The engine's spans, while tracing is on: a batch linked to its events, a message under its own.

A batch belongs to no single event, so it is a trace of its own that links to theirs. A message goes
on in the trace of the event that led to it, or, if time did, in the batch's.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from services.journey.batch import Batch
from services.journey.deciding import Deciding, Given
from shared import tracing
from shared.event import Event
from shared.tracing import Tracer

_MOST_LINKS = 128
"""Of the events of one batch; OpenTelemetry keeps no more of a span either."""

Decide = Callable[[Given, Sequence[Event]], None]


@contextmanager
def deciding(by: Deciding, batch: Batch, events: Sequence[Given]) -> Iterator[Decide]:
    """What decides an event of the batch: `by` itself while tracing is off."""
    tracer = tracing.tracer
    if tracer is None:
        yield by.event
        return
    traces = [given.event.trace for given in events if given.event.trace]
    with tracer.span(
        "decide batch",
        "consumer",
        links=traces[:_MOST_LINKS],
        attributes={"dangol.partition": batch.partition, "dangol.events": len(events)},
    ) as span:
        batch.trace = span.trace

        def decide(given: Given, witnessed: Sequence[Event]) -> None:
            before = len(batch.messages)
            by.event(given, witnessed)
            if given.event.trace:
                _go_on(tracer, batch, given.event.trace, before, span.trace)

        yield decide


def by_time(batch: Batch) -> None:
    """Let the messages that no event of the batch has led to go on in the batch's trace."""
    if tracing.tracer is not None and batch.trace:
        _go_on(tracing.tracer, batch, batch.trace, 0, "")


def _go_on(tracer: Tracer, batch: Batch, trace: str, since: int, link: str) -> None:
    """Let the messages from `since` on go on in this trace, unless they are in one."""
    for place in range(since, len(batch.messages)):
        message = batch.messages[place]
        if message.context.trace:
            continue
        with tracer.span(
            "message",
            parent=trace,
            links=[link] if link else [],
            attributes={
                "dangol.journey": message.journey,
                "dangol.step": message.step,
                "dangol.message": message.id,
            },
        ) as span:
            context = msgspec.structs.replace(message.context, trace=span.trace)
            batch.messages[place] = msgspec.structs.replace(message, context=context)
