"""Traces, for whoever asks for them; otherwise a look at a name that is None.

`services/cli/telemetry.py` puts a tracer here at the start of a process if the environment asks for
one. A trace goes on from process to process as a W3C `traceparent`, in the field `trace` of an
event in the log and of a message's context: both are empty, and take no byte, while tracing is off.
No span carries an address, a key or what an event or a message says.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol

import msgspec

from shared.event import Event

Kind = Literal["internal", "server", "producer", "consumer", "client"]
Attributes = Mapping[str, str | int | float | bool]


class Span(Protocol):
    @property
    def trace(self) -> str:
        """What makes others its children: a traceparent, empty where this trace is not sampled."""

    def note(self, attributes: Attributes) -> None: ...

    def failed(self, why: str) -> None:
        """`why` is one of our own words, nothing that came from outside."""


class Tracer(Protocol):
    def span(
        self,
        name: str,
        kind: Kind = "internal",
        *,
        parent: str = "",
        links: Sequence[str] = (),
        attributes: Attributes | None = None,
    ) -> AbstractContextManager[Span]:
        """`parent` and `links` are traceparents; without a parent the span around it is the parent.
        A text that is no traceparent is as good as none."""


tracer: Tracer | None = None
"""None while tracing is off. Read it as `tracing.tracer`, at the moment it is needed."""


def use(new: Tracer | None) -> None:
    global tracer  # noqa: PLW0603 - set once, at the composition root
    tracer = new


def carrying(events: Sequence[Event], span: Span) -> list[Event]:
    """The events, with the trace that they go on in."""
    if not span.trace:
        return list(events)
    return [msgspec.structs.replace(event, trace=span.trace) for event in events]
