"""Requests of the commonest kind, answered without ASGI: a task, its events and messages cost more
than all that has to be done for a batch of ten.

A request goes this way if all of it is there and nothing has to be waited for but the log: its key
is known, its body is small, and every event in it can be used. Everything else is left to `Edge`,
before anything was done; the two tell the same and store the same.
"""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from services.ingest import answers
from services.ingest.answers import Header
from services.ingest.body import COMPRESSED
from services.ingest.intake import IngestContext, Intake, scene_of, withhold
from services.ingest.keys import keys_of, known_writer
from services.ingest.protocol import Reading, open_parcel, read
from services.ingest.routes import AT_ONCE, Route
from shared.errors import BadInput, Unavailable
from shared.event import Encoded, encoded
from shared.keys import Source
from shared.tracking import Violation

Reply = Callable[[int, Sequence[Header], bytes], None]
"""Called once, with status, headers and body."""


class _Load(msgspec.Struct, frozen=True, gc=False):
    """A request that waits for the log."""

    route: Route
    source: Source
    origin: bytes | None
    size: int
    records: Sequence[Encoded]
    broken: Sequence[tuple[str, Violation]]


class AtOnce:
    def __init__(self, context: IngestContext, intake: Intake) -> None:
        self._context = context
        self._intake = intake

    def take(self, target: bytes, given: Sequence[Header], body: bytes, reply: Reply) -> bool:
        """Take a POST whose head and body have arrived; False if it is for `Edge`.

        `target` is the first line's, `given` has the headers' names in lower case.
        """
        context = self._context
        route = AT_ONCE.get(target)
        if route is None or len(body) >= context.limits.thread_from or body.startswith(COMPRESSED):
            return False
        headers = dict(given)
        source = known_writer(context.keys, keys_of(headers, b""))
        if source is None or context.live.settings.ingest.client_context.address:
            return False
        try:
            if source.limited:
                context.quotas.admit(source)
            reading = self._read(route, headers, source, body)
            if reading.refused or not reading.events:
                return False
            records = [encoded(event, context.log.partitions) for event in reading.events]
            self._intake.hands.take(len(body))
        except (BadInput, Unavailable):
            return False
        load = _Load(route, source, headers.get(b"origin"), len(body), records, reading.broken)
        try:
            context.log.put(records, lambda error: self._done(load, error, reply))
        except Unavailable:
            self._intake.hands.give_back(load.size)
            return False
        context.metrics.body(load.size)
        return True

    def _read(
        self, route: Route, headers: Mapping[bytes, bytes], source: Source, body: bytes
    ) -> Reading:
        """Raises BadInput."""
        context = self._context
        allowed = context.live.settings.ingest.client_context
        parcel = open_parcel(body, single=route.kind is not None)
        scene = scene_of(parcel, route, headers, None, source, context.clock.now(), allowed)
        reading = read(parcel, scene, context.live.judge)
        if source.kind == "browser":
            withhold(reading.events, scene, allowed)
        return reading

    def _done(self, load: _Load, error: Exception | None, reply: Reply) -> None:
        context, route, source = self._context, load.route, load.source
        self._intake.hands.give_back(load.size)
        if error is None:
            answer = answers.SUCCESS
            context.metrics.took(load.records)
            if source.limited:
                context.quotas.took(source, len(load.records))
            if load.broken:
                self._intake.broke(source.name, load.broken)
        else:
            answer = self._intake.failed(route, error)
        context.metrics.answered(route.name, answer.status)
        if load.origin is None:
            reply(answer.status, answer.headers, answer.body)
        else:
            reply(answer.status, answers.headers_for(answer, load.origin), answer.body)
