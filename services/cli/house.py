"""The services, wired: all of them in `dangol up`, one alone in `dangol ingest` and the like.

Stopping starts with HTTP, so that nothing new comes in, and with what takes work from the database;
it ends with what these depend on.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Any, Literal, get_args

from fastapi import FastAPI
from prometheus_client import REGISTRY
from starlette.types import ASGIApp

from services.cli import leaders
from services.cli.foundation import Foundation, calm_garbage_collection
from services.cli.guard import Shortcut
from services.cli.health import BUILD, Check, Impaired, health_routes
from services.cli.telemetry import traced
from services.cli.web import behind_proxies, serve
from services.console import erasing_again
from services.console.app import Console, create_app
from services.console.erasure_ledger import Ledger
from services.console.failures import install_error_handlers
from services.dispatch.calls.caller import Caller
from services.dispatch.channels.web_push import public_key
from services.dispatch.database import open_dispatch_pool
from services.dispatch.doors.api import door_routes
from services.dispatch.doors.reception import make_reception
from services.dispatch.doors.web_push import web_push_routes
from services.dispatch.receipts.api import Desk, receipt_routes
from services.dispatch.receipts.bounces.certificate import Certificate
from services.dispatch.receipts.bounces.door import Door
from services.dispatch.receipts.bounces.mailbox import Mailbox
from services.dispatch.receipts.bounces.mailroom import Mailroom
from services.dispatch.receipts.bounces.settings import bounce_settings
from services.dispatch.receipts.store import Receipts
from services.dispatch.receipts.texts.api import report_routes
from services.dispatch.receipts.texts.store import Reports
from services.dispatch.worker import Dispatcher
from services.ingest.app import Edge, IngestContext
from services.ingest.batcher import BatchingLog
from services.ingest.live import Live
from services.ingest.metrics import IngestMetrics
from services.ingest.quota import Quotas, StoredUsage
from services.ingest.schema import describe
from services.ingest.stored import StoredAside
from services.ingest.violations import StoredViolations, Violations
from services.journey.library import Library
from services.journey.maintenance import Maintenance
from services.journey.partition import Engine
from services.journey.store import Store
from services.journey.worker import Worker
from shared import keys, tracing, workspace_store
from shared.db.connect import Pool, engine_for, unavailable_when_lost
from shared.errors import Unavailable
from shared.keys import KeyRing
from shared.lifecycle import pause, run_all
from shared.log import outbox
from shared.log.port import LogReader
from shared.log.postgres import PostgresLogReader
from shared.standard_webhooks import read_secrets

Part = Literal["ingest", "journey", "dispatch", "console"]
_SECRET = "DANGOL_WEBHOOK_SECRET"  # noqa: S105 - its name
ALL: frozenset[Part] = frozenset(get_args(Part))

_STOP_AT_ONCE = frozenset({"journey", "leader", "maintenance", "dispatch", "calls", "asking"})
"""What answers no request ends while HTTP does: a slow client and a slow provider do not add up."""
_STOP_WITHIN = 9.0
"""Seconds; what has not ended by then is cancelled, so that a process is gone within 10."""

Service = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
"""Runs until the event is set, then finishes within a limit."""


@asynccontextmanager
async def open_house(
    found: Foundation,
    parts: frozenset[Part],
    *,
    admin_token: str | None,
    alone: bool,
    url: str | None = None,
    ledger: Ledger | None = None,
) -> AsyncIterator["House"]:
    """`alone`: no other process can be at work on this database; `url`: where this one listens, for
    links where no public address is set; `ledger`: of erasures, for the console. Raises
    DatabaseUnreachable."""
    told: dict[str, Any] = {
        "admin_token": admin_token, "alone": alone, "url": url, "ledger": ledger,
    }  # fmt: skip
    with traced(_name_of(parts), os.environ):
        if "dispatch" not in parts:
            yield House(found, parts, None, **told)
            return
        pool = await open_dispatch_pool(found.dsn)  # its own: its sessions' plans are pinned
        try:
            yield House(found, parts, pool, **told)
        finally:
            await pool.close()


def _name_of(parts: frozenset[Part]) -> str:
    return "up" if parts == ALL else "+".join(sorted(parts))


class House:
    def __init__(
        self,
        found: Foundation,
        parts: frozenset[Part],
        dispatch_pool: "Pool | None",
        *,
        admin_token: str | None,
        alone: bool,
        url: str | None,
        ledger: Ledger | None,
    ) -> None:
        self._found = found
        self._ledger = ledger if "console" in parts else None
        self._alone = alone
        self._public_url = found.settings.public_url or url
        self._keys = KeyRing(
            found.pool,
            write_keys=[key.get_secret_value() for key in found.settings.write_keys],
            admin_token=admin_token,
        )
        self._engine = engine_for(found.dsn)
        self._checks: dict[str, Check] = {"database": self._check_database}
        self._impaired: dict[str, Impaired] = {}
        changes = found.wakeups.listen(keys.CHANNEL)
        self._services: dict[str, Service] = {
            "wakeups": found.wakeups.run,
            "keys": lambda stopping: self._keys.watch(changes, stopping),
        }
        self._batching: BatchingLog | None = None
        self._shortcut: Shortcut | None = None
        self._dispatcher: Dispatcher | None = None
        self._caller: Caller | None = None
        self._app: ASGIApp = self._http(parts)
        if "journey" in parts:
            self._add_journey()
        if dispatch_pool is not None:
            self._dispatcher = self._add_dispatch(dispatch_pool)
        if parts - {"ingest"}:  # whoever writes into the outbox also relays it
            relay = outbox.Relay(found.pool, found.log, found.wakeups.listen(outbox.CHANNEL))
            self._services["outbox"] = relay.run
        if self._ledger is not None:
            self._services["erasures"] = partial(
                erasing_again.keep_telling, found.pool, self._ledger
            )

    def _http(self, parts: frozenset[Part]) -> ASGIApp:
        found = self._found
        if "console" in parts:
            app = create_app(
                Console(found.pool, self._engine, self._keys, found.clock, self._ledger)
            )
        else:
            app = FastAPI(title="Dangol", docs_url=None, redoc_url=None, redirect_slashes=False)
            install_error_handlers(app)
        BUILD.labels(version("dangol"), _name_of(parts)).set(1)
        app.include_router(health_routes(self._checks, self._impaired, REGISTRY))
        if "dispatch" in parts and self._public_url:
            reception = make_reception(found.pool, found.clock, found.partitions, self._public_url)
            app.include_router(door_routes(reception))
        if "dispatch" in parts:
            reports = Reports(found.pool, found.partitions)
            app.include_router(report_routes(reports, found.clock, os.environ, self._public_url))
            receipts = Receipts(found.pool, found.partitions)
            app.include_router(receipt_routes(receipts, Desk(os.environ), found.clock))
        vapid = public_key(os.environ) if "dispatch" in parts else None
        if vapid is not None:
            app.include_router(web_push_routes(vapid))
        if "ingest" not in parts:
            return behind_proxies(app)
        describe(app)
        metrics = IngestMetrics(REGISTRY)
        self._batching = BatchingLog(found.log, metrics)
        aside = StoredAside(found.pool, found.clock)
        quotas, live = Quotas(StoredUsage(found.pool), found.clock), Live()
        violations = Violations(StoredViolations(found.pool), found.clock)
        news = found.wakeups.listen(workspace_store.CHANNEL)
        self._services["quotas"] = quotas.run
        self._services["violations"] = violations.run
        self._services["settings"] = lambda stopping: live.run(found.pool, news, stopping)
        edge = Edge(
            behind_proxies(app),
            IngestContext(
                self._batching,
                self._keys,
                aside,
                found.clock,
                metrics,
                quotas,
                live,
                violations=violations,
                environment=os.environ,
            ),
            behind_proxies,
        )
        # It makes no spans: whoever wants traces pays for the longer way.
        self._shortcut = edge.at_once if tracing.tracer is None else None
        return edge

    def _add_journey(self) -> None:
        found, settings = self._found, self._found.settings
        reader, close = self._reader()
        engine = Engine(
            worker=found.name,
            reader=reader,
            store=Store(found.pool),
            library=Library(found.pool),
            clock=found.clock,
            partitions=found.partitions,
            batch=settings.batch,
            cache=settings.cache // found.partitions,
        )
        worker = Worker(engine, found.wakeups.listen(workspace_store.CHANNEL))

        async def check() -> str | None:
            return None if worker.ready else "partitions are still being taken over"

        self._checks["journey"] = check
        self._impaired["journey"] = lambda: worker.impaired

        async def run(stopping: asyncio.Event) -> None:
            try:
                await worker.run(stopping)
            finally:
                await close()

        self._services["journey"] = run
        self._services["maintenance"] = Maintenance(found.pool, found.clock, found.log).run
        self._services["leader"] = leaders.of_journey(self._found, engine).run

    def _reader(self) -> tuple[LogReader, Callable[[], Awaitable[None]]]:
        """The log's reader, and what lets others know at once that it reads no more."""
        found = self._found
        if found.kafka is None:
            of_postgres = PostgresLogReader(
                found.pool, found.wakeups, found.partitions, found.name, found.clock
            )
            return of_postgres, of_postgres.close
        from shared.log.kafka_reader import KafkaLogReader

        of_kafka = KafkaLogReader(found.kafka, found.pool)
        return of_kafka, of_kafka.close

    def _add_dispatch(self, pool: Pool) -> Dispatcher:
        found, settings = self._found, self._found.settings
        dispatcher = Dispatcher(
            pool,
            found.clock,
            found.wakeups,
            partitions=found.partitions,
            environment=os.environ,
            concurrency=settings.concurrency,
            lease=settings.lease,
            public_url=self._public_url,
            bounce_domain=self._add_bounces(),
        )
        self._services["dispatch"] = dispatcher.run
        self._services["asking"] = leaders.of_dispatch(self._found, os.environ).run
        self._caller = self._add_caller(pool)
        return dispatcher

    def _add_bounces(self) -> str | None:
        """The domain to which mails come back, with what takes them there."""
        found, bounces = self._found, bounce_settings(self._found.settings)
        if bounces is None:
            return None
        mailroom = Mailroom(found.pool, found.clock, found.partitions, bounces.domain)
        if bounces.listen is not None:
            certificate = Certificate(*bounces.tls) if bounces.tls is not None else None
            door = Door(mailroom, bounces.domain, *bounces.listen, certificate=certificate)
            self._services["bounce-door"] = door.run
        if bounces.mailbox is not None:
            self._services["bounce-mailbox"] = Mailbox(mailroom, bounces.mailbox).run
        return bounces.domain

    def _add_caller(self, pool: Pool) -> Caller:
        found, settings = self._found, self._found.settings
        secret = settings.webhook_secret
        caller = Caller(
            pool,
            found.clock,
            found.wakeups,
            partitions=found.partitions,
            secrets=read_secrets(secret.get_secret_value(), _SECRET) if secret else (),
            private_hosts=settings.private_hosts,
            concurrency=settings.concurrency,
            lease=settings.lease,
        )
        self._services["calls"] = caller.run
        return caller

    async def _check_database(self) -> str | None:
        try:
            async with unavailable_when_lost():
                await self._found.pool.fetchval("SELECT 1", timeout=2)
        except Unavailable as error:
            return str(error)
        return None

    async def run(
        self,
        sock: socket.socket,
        stopping: asyncio.Event,
        on_ready: Callable[[], Awaitable[None]],
        handed_over: Callable[[], bool] = lambda: False,
    ) -> None:
        """Until `stopping`; the first service that fails stops all and is raised."""
        if self._ledger is not None:  # before anybody may be written to
            kept = await asyncio.to_thread(self._ledger.read)
            await erasing_again.erase_again(self._found.pool, kept, self._found.clock)
        if self._alone:
            # Nobody else can be alive behind the folder's lock: whoever had these is gone.
            await self._found.pool.execute("TRUNCATE workers")
            if self._dispatcher is not None:
                await self._dispatcher.settle_all()
            if self._caller is not None:
                await self._caller.settle_all()
        calm_garbage_collection()
        http_over = asyncio.Event()
        services = {
            "http": self._serve_http(sock, stopping, http_over, handed_over),
            **{
                name: service(stopping if name in _STOP_AT_ONCE else http_over)
                for name, service in self._services.items()
            },
            "ready": self._announce(stopping, on_ready),
        }
        try:
            await run_all(services, stopping, limit=_STOP_WITHIN)
        finally:
            await self._engine.dispose()

    async def _serve_http(
        self,
        sock: socket.socket,
        stopping: asyncio.Event,
        http_over: asyncio.Event,
        handed_over: Callable[[], bool],
    ) -> None:
        """The others stop only when no request can come in any more."""
        try:
            await serve(self._app, sock, stopping, handed_over, self._shortcut)
            if self._batching is not None:
                await self._batching.stop()
        finally:
            http_over.set()

    async def _announce(
        self, stopping: asyncio.Event, on_ready: Callable[[], Awaitable[None]]
    ) -> None:
        while not stopping.is_set() and [c for c in self._checks.values() if await c()]:
            await pause(stopping, 0.02)
        if not stopping.is_set():
            await on_ready()
        await stopping.wait()
