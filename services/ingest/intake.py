"""What a request brings, made durable: read, understood, and appended, before it is answered."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

import msgspec
import structlog
from starlette.types import Receive, Scope

from services.ingest import answers, lenient, posthog, webhook
from services.ingest.again import Circumstances
from services.ingest.answers import Answer
from services.ingest.batcher import Queue
from services.ingest.body import Hands, Load, Patience, read_body
from services.ingest.catalog import held_to_plan, read_catalog
from services.ingest.keys import KeyRing, keys_of, known_writer, writer
from services.ingest.limits import LIMITS, MAX_EVENT_BYTES, Limits
from services.ingest.live import Live
from services.ingest.metrics import IngestMetrics
from services.ingest.normalise import Scene
from services.ingest.protocol import Parcel, Reading, open_parcel, open_posthog, read
from services.ingest.quota import Quotas
from services.ingest.refused import Refused
from services.ingest.routes import Does, Route
from services.ingest.stored import SetAside
from services.ingest.times import as_utc, parse_time
from services.ingest.violations import Violations
from shared import tracing
from shared.clock import REAL, Clock, wall_clock
from shared.errors import BadInput, ConfigurationError, NotFound, Unavailable
from shared.event import Event, encoded
from shared.keys import Source, need_secret
from shared.tracking import Violation
from shared.workspace import ClientContext

_logger = structlog.get_logger(__name__)
_T = TypeVar("_T")
_LONGEST_HEADER = 512
_LANGUAGE = re.compile(rb"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_STARTS = b"start_journeys=true"
_NOTHING_KEPT = ClientContext(user_agent=False, locale=False)


@dataclass(frozen=True, slots=True)
class IngestContext:
    log: Queue
    """A `BatchingLog`: it is what bounds the time and the events that wait. Its maker stops it."""
    keys: KeyRing
    set_aside: SetAside
    clock: Clock
    metrics: IngestMetrics
    quotas: Quotas
    live: Live
    limits: Limits = LIMITS
    violations: Violations = field(default_factory=lambda: Violations(None, REAL))
    environment: Mapping[str, str] = field(default_factory=dict)
    """Where the secrets of webhooks' senders stand."""
    real_now: Callable[[], datetime] = wall_clock
    """By which senders of webhooks date their signatures, however fast our own time goes."""


class Intake:
    def __init__(self, context: IngestContext) -> None:
        self._context = context
        self._limits = context.limits
        self.hands = Hands(context.limits.bodies)
        self._patience = Patience(context.limits.read_within)
        self._silent_until = 0.0

    def failed(self, route: Route, error: Exception) -> Answer:
        """What a request is told that came to this."""
        if isinstance(error, BadInput):
            return answers.mistake(error)
        if isinstance(error, Unavailable | TimeoutError):
            self.warn(route, error)
        else:
            _logger.error(
                "A request failed.", action="ingest.failed", route=route.name, exc_info=error
            )
        return answers.trouble()

    def warn(self, route: Route, error: Exception) -> None:
        """Once a second at most: in an outage every request would say the same."""
        now = time.monotonic()
        if now >= self._silent_until:
            self._silent_until = now + 1
            reason = str(error) or type(error).__name__
            _logger.warning(
                "Requests are answered 503.",
                action="ingest.unavailable",
                route=route.name,
                error=reason,
            )

    async def body(
        self,
        headers: Mapping[bytes, bytes],
        receive: Receive,
        load: Load,
        *,
        most: int | None = None,
    ) -> bytes:
        announced = headers.get(b"content-length", b"")
        size = int(announced) if announced.isdigit() and len(announced) < 20 else 0
        limits = self._limits if most is None else replace(self._limits, body=most)
        body = await read_body(receive, size, load, self._patience, limits)
        self._context.metrics.body(len(body))
        return body

    async def take(
        self, route: Route, headers: Mapping[bytes, bytes], scope: Scope, receive: Receive
    ) -> Answer:
        """Answer when all that the request brought is durable."""
        context = self._context
        received = context.clock.now()
        keys = keys_of(headers, scope["query_string"])
        if not keys and route.does is Does.POSTHOG_V1:
            keys = posthog.bearer(headers.get(b"authorization", b""))
        source = known_writer(context.keys, keys)
        if source is None and keys:
            source = await self._writer(route, keys)
        if source is not None:
            self._admit(route, source)
        with Load(self.hands) as load:
            body = await self.body(headers, receive, load)
            small = len(body) < self._limits.thread_from
            parcel = (
                _opened(body, route) if small else await asyncio.to_thread(_opened, body, route)
            )
            if source is None:
                key = parcel.key()
                source = await self._writer(route, (key,) if key else ())
                self._admit(route, source)
            allowed = context.live.settings.ingest.client_context
            peer = scope.get("client")
            scene = scene_of(parcel, route, headers, peer, source, received, allowed)
            judge = context.live.judge
            reading = (
                read(parcel, scene, judge)
                if small
                else await asyncio.to_thread(read, parcel, scene, judge)
            )
            if source.kind == "browser":
                withhold(reading.events, scene, allowed)
            historical = route.does is Does.IMPORT and _STARTS not in scope["query_string"]
            if historical:
                reading.events = [
                    msgspec.structs.replace(e, historical=True) for e in reading.events
                ]
            await self._store(
                route, reading, Circumstances(scene, parcel.of_posthog, historical=historical)
            )
            if source.limited:
                context.quotas.took(source, len(reading.events) + len(reading.refused))
        if route.does is Does.POSTHOG_V1:
            stored = frozenset(event.id for event in reading.events)
            return answers.success({"results": posthog.results(parcel.items, stored)})
        return answers.SUCCESS

    async def take_webhook(
        self, route: Route, headers: Mapping[bytes, bytes], receive: Receive
    ) -> Answer:
        """Answer when the event is durable; one that cannot be used is set aside."""
        context = self._context
        received = context.clock.now()
        if not context.live.loaded:
            raise Unavailable("The workspace has not been read yet.")
        settings = context.live.settings.sources.get(route.key)
        if settings is None:
            raise NotFound("The workspace names no such source.")
        try:
            secrets = webhook.secrets_of(route.key, settings, context.environment)
        except ConfigurationError as error:  # ours to mend: they send it again
            raise Unavailable(str(error)) from error
        with Load(self.hands) as load:
            body = await self.body(headers, receive, load, most=webhook.MOST_BODY)
            webhook.verify(settings, secrets, headers, body, context.real_now())
            content = lenient.parse(body)
            document = webhook.document_of(route.key, settings, headers, body, content)
            if document is None:
                return answers.SUCCESS
            scene = Scene(received, route.key)
            parcel = open_parcel(lenient.write(document), single=True)
            reading = read(parcel, scene, context.live.judge)
            if reading.refused:
                whole = lenient.write({**document, "webhook": content})[:MAX_EVENT_BYTES]
                reading.refused = [replace(item, raw=whole) for item in reading.refused]
            await self._store(route, reading, Circumstances(scene))
        return answers.SUCCESS

    async def take_catalog(
        self, route: Route, headers: Mapping[bytes, bytes], scope: Scope, receive: Receive
    ) -> Answer:
        """Answer when the catalogue events are durable."""
        context = self._context
        received = context.clock.now()
        source = await writer(context.keys, keys_of(headers, scope["query_string"]))
        self._admit(route, source)
        with Load(self.hands) as load:
            body = await self.body(headers, receive, load)
            events = await asyncio.to_thread(read_catalog, body, source.name, received)
            if context.live.judge is not None:
                self.broke(source.name, held_to_plan(events, context.live.judge))
            await context.log.append(events)
        context.metrics.took(events, ())
        if source.limited:
            context.quotas.took(source, len(events))
        return answers.SUCCESS

    def _admit(self, route: Route, source: Source) -> None:
        if route.does in (Does.IMPORT, Does.CATALOG):
            need_secret(source)
        if source.limited:
            self._context.quotas.admit(source)

    async def _writer(self, route: Route, keys: Sequence[str]) -> Source:
        return await self._holding(route, lambda: writer(self._context.keys, keys))

    async def _store(self, route: Route, reading: Reading, around: Circumstances) -> None:
        """First what is put aside: an event without an id gets a new one if it is sent again."""
        context = self._context
        if reading.refused:
            await self._holding(route, lambda: self._put_aside(reading.refused, around))
        if tracing.tracer is None:
            await self._append(route, reading.events)
        else:
            number = {"dangol.events": len(reading.events)}
            with tracing.tracer.span("append", "producer", attributes=number) as span:
                await self._append(route, tracing.carrying(reading.events, span))
        context.metrics.took(reading.events, reading.refused)
        if reading.broken:
            self.broke(around.scene.source, reading.broken)

    async def _append(self, route: Route, events: Sequence[Event]) -> None:
        log = self._context.log
        records = [encoded(event, log.partitions) for event in events]
        await self._holding(route, lambda: log.append_encoded(records))

    def broke(self, source: str, broken: Sequence[tuple[str, Violation]]) -> None:
        self._context.metrics.broke(source, broken)
        self._context.violations.count(source, broken)

    async def _put_aside(self, refused: Sequence[Refused], around: Circumstances) -> None:
        async with asyncio.timeout(self._limits.put_aside_within):
            await self._context.set_aside.put(refused, around)

    async def _holding(self, route: Route, act: Callable[[], Awaitable[_T]]) -> _T:
        """Act, and for SDKs that send nothing twice act again, for a while, before our trouble
        becomes theirs. A second append repeats the events' ids, so they still count once."""
        if not route.one_chance:
            return await act()
        until = time.monotonic() + self._limits.one_chance_held
        try:
            return await act()
        except (Unavailable, TimeoutError) as error:
            self.warn(route, error)
        with self._context.metrics.held.track_inprogress():
            while True:
                await asyncio.sleep(self._limits.one_chance_pause)
                try:
                    return await act()
                except (Unavailable, TimeoutError):
                    if time.monotonic() >= until:
                        raise


def scene_of(
    parcel: Parcel,
    route: Route,
    headers: Mapping[bytes, bytes],
    peer: tuple[str, int] | None,
    source: Source,
    received: datetime,
    allowed: ClientContext = _NOTHING_KEPT,
) -> Scene:
    """What the request and the batch say of all their events."""
    sent = parcel.sent
    if sent is None and (header := headers.get(b"sentat")):
        instant = parse_time(header.decode("latin-1"))
        sent = as_utc(instant) if instant else None
    context = parcel.context
    if route.does is Does.POSTHOG_V1:
        context = posthog.library_of(headers)
    return Scene(
        received,
        source.name,
        route.kind,
        sent,
        context,
        parcel.integrations,
        peer[0] if allowed.address and peer else None,
        _text(headers.get(b"user-agent")) if allowed.user_agent else None,
        _language(headers.get(b"accept-language")) if allowed.locale else None,
    )


def _opened(body: bytes, route: Route) -> Parcel:
    if route.does is Does.POSTHOG or route.does is Does.POSTHOG_V1:
        return open_posthog(body)
    return open_parcel(body, single=route.kind is not None)


def withhold(events: Sequence[Event], scene: Scene, allowed: ClientContext) -> None:
    """Take what the workspace does not keep out of what pages say of themselves.

    A page can claim any address, so that only the one that we saw ourselves is kept.
    """
    for event in events:
        context = event.context
        if context.get("ip", scene.ip) != scene.ip:
            del context["ip"]
        if not allowed.user_agent:
            context.pop("userAgent", None)
            context.pop("userAgentData", None)
        if not allowed.locale:
            context.pop("locale", None)


def _text(header: bytes | None) -> str | None:
    return header[:_LONGEST_HEADER].decode("latin-1") if header else None


def _language(header: bytes | None) -> str | None:
    """The language that the browser asks for first: `ko-KR` of `ko-KR,ko;q=0.9`."""
    if not header:
        return None
    first = header[:_LONGEST_HEADER].partition(b",")[0].partition(b";")[0].strip()
    return first.decode("latin-1") if _LANGUAGE.fullmatch(first) else None
