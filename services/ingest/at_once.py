"""Requests of the commonest kind, answered without ASGI: a task, its events and messages cost more
than all that has to be done for a batch of ten.

A request goes this way if all of it is there and nothing has to be waited for but the log: its key
is known, its body is not huge, and every event in it can be used. Everything else is left to
`Edge`, before anything was done; the two tell the same and store the same.

Bodies of some size are read one in each turn of the event loop. Read as they come, those that come
together would keep the loop for some ten milliseconds, and the log, whose appends take several
round trips, would wait for us meanwhile: a fifth of the whole rate.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from services.ingest import answers
from services.ingest.answers import Answer, Header
from services.ingest.body import COMPRESSED
from services.ingest.intake import IngestContext, Intake, scene_of, withhold
from services.ingest.keys import keys_of, known_writer
from services.ingest.protocol import open_parcel, read
from services.ingest.routes import AT_ONCE, Route
from shared.errors import BadInput, Unavailable
from shared.event import Encoded, encoded
from shared.keys import Source
from shared.tracking import Violation

Reply = Callable[[int, Sequence[Header], bytes], None]
"""Called once, with status, headers and body."""


Otherwise = Callable[[Route, Mapping[bytes, bytes], bytes], Awaitable[Answer]]
_LARGE = 16 * 1024


class _Request(msgspec.Struct, frozen=True, gc=False):
    route: Route
    source: Source
    headers: Mapping[bytes, bytes]
    body: bytes
    reply: Reply


class AtOnce:
    def __init__(self, context: IngestContext, intake: Intake, otherwise: Otherwise) -> None:
        """`otherwise` answers a request that was taken and needs more after all."""
        self._context = context
        self._intake = intake
        self._otherwise = otherwise
        self._later: deque[_Request] = deque()
        self._left: set[asyncio.Task[None]] = set()

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
            self._intake.hands.take(len(body))
        except (BadInput, Unavailable):
            return False
        request = _Request(route, source, headers, body, reply)
        if len(body) < _LARGE:
            return self._is_stored(request)
        self._later.append(request)
        if len(self._later) == 1:
            asyncio.get_running_loop().call_soon(self._turn)
        return True

    def _turn(self) -> None:
        request = self._later[0]
        if not self._is_stored(request):
            task = asyncio.create_task(self._leave(request), name="ingest-otherwise")
            self._left.add(task)
            task.add_done_callback(self._left.discard)
        self._later.popleft()
        if self._later:
            asyncio.get_running_loop().call_soon(self._turn)

    async def _leave(self, request: _Request) -> None:
        self._tell(request, await self._otherwise(request.route, request.headers, request.body))

    def _is_stored(self, request: _Request) -> bool:
        """Whether the log has it now, and answers it; else nothing was done."""
        size = len(request.body)
        try:
            records, broken = self._read(request)
            if records:
                self._context.log.put(
                    records, lambda error: self._done(request, records, broken, error)
                )
                self._context.metrics.body(size)
                return True
        except Exception:  # noqa: BLE001, S110 - the edge meets it too, and tells it
            pass
        self._intake.hands.give_back(size)
        return False

    def _read(self, request: _Request) -> tuple[Sequence[Encoded], Sequence[tuple[str, Violation]]]:
        """The events, none if one of them has to be set aside, and what they break of the plan.

        Raises BadInput.
        """
        context, route, source = self._context, request.route, request.source
        allowed, now = context.live.settings.ingest.client_context, context.clock.now()
        parcel = open_parcel(request.body, single=route.kind is not None)
        scene = scene_of(parcel, route, request.headers, None, source, now, allowed)
        reading = read(parcel, scene, context.live.judge)
        if reading.refused:
            return (), ()
        if source.kind == "browser":
            withhold(reading.events, scene, allowed)
        partitions = context.log.partitions
        return [encoded(event, partitions) for event in reading.events], reading.broken

    def _done(
        self,
        request: _Request,
        records: Sequence[Encoded],
        broken: Sequence[tuple[str, Violation]],
        error: Exception | None,
    ) -> None:
        context, source = self._context, request.source
        self._intake.hands.give_back(len(request.body))
        if error is not None:
            self._tell(request, self._intake.failed(request.route, error))
            return
        context.metrics.took(records)
        if source.limited:
            context.quotas.took(source, len(records))
        if broken:
            self._intake.broke(source.name, broken)
        self._tell(request, answers.SUCCESS)

    def _tell(self, request: _Request, answer: Answer) -> None:
        self._context.metrics.answered(request.route.name, answer.status)
        origin = request.headers.get(b"origin")
        own = answer.headers if origin is None else answers.headers_for(answer, origin)
        request.reply(answer.status, own, answer.body)
