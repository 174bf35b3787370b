"""What `dangol doctor` looks at, and how what it finds is mended."""

import asyncio
import contextlib
import difflib
import imaplib
import os
import shutil
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path

from aiosmtplib.errors import SMTPException

from services.cli.environment import read_settings
from services.cli.erasure_checkup import check_erasures
from services.cli.findings import Finding, Verdict
from services.cli.journey_checkup import check_journeys
from services.cli.kakao_checkup import check_kakao
from services.cli.log_checkup import check_log
from services.cli.mail_checkup import check_mail_domains
from services.cli.notices_checkup import check_notices
from services.cli.receipts_checkup import receipts_lost
from services.console.erasure_ledger import Ledger
from services.dispatch.channels import registry, smtp_pool
from services.dispatch.channels.port import Setup
from services.dispatch.pauses import hear
from services.dispatch.receipts.bounces import mailbox
from services.dispatch.receipts.bounces.certificate import Certificate
from services.dispatch.receipts.bounces.settings import BounceSettings, bounce_settings
from services.dispatch.receipts.texts.refusals import open_lists
from services.dispatch.workspace import Templates
from services.ingest import webhook
from services.journey.language.workspace import load_workspace
from shared.channels import UNUSABLE
from shared.clock import wall_clock
from shared.db.clock import log_clock
from shared.db.connect import Pool, open_pool
from shared.db.data_folder import folder_error
from shared.db.migrate import HEAD, schema_on
from shared.db.pgdata import PGDATA
from shared.errors import ConfigurationError, DangolError
from shared.log.kafka_settings import kafka_settings
from shared.settings import Settings
from shared.standard_webhooks import read_secrets
from shared.templates import TemplateFailed
from shared.workspace import ChannelSettings, WebhookSource
from shared.workspace_store import Published, newest

_ROOM = 2**30
"""Bytes of free disk below which it is time to tell."""
_PATIENCE = 5.0
_RENEWED = timedelta(days=14)
"""A certificate that has less time left should have been renewed."""
_ALSO_KNOWN = ("DANGOL_SERVER", "DANGOL_DEBUG")


def check_environment(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Settings that cannot be read, and names that look like a setting's but are none."""
    try:
        settings = read_settings()
    except DangolError as error:
        yield Finding.of("settings", error)
        return
    for name, why in UNUSABLE.items():
        yield Finding(
            f"channel {name}",
            "warn",
            f"an installed package adds it, but it cannot be used: {why}",
            "mend or remove the package; CONTRIBUTING.md says what it has to have",
        )
    known = [f"DANGOL_{name.upper()}" for name in Settings.model_fields]
    for name in sorted(environment):
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
        if name.startswith("DANGOL_") and close and name not in (*known, *_ALSO_KNOWN):
            yield Finding("settings", "warn", f"{name} is no setting", f"is it {close[0]}?")
    token = settings.admin_token.get_secret_value() if settings.admin_token else None
    if token is not None and len(token) < 16:
        yield Finding(
            "settings",
            "warn",
            "DANGOL_ADMIN_TOKEN is so short that it can be guessed",
            "make a random one, for example with `openssl rand -hex 32`",
        )
    if settings.webhook_secret is not None:
        try:
            read_secrets(settings.webhook_secret.get_secret_value(), "DANGOL_WEBHOOK_SECRET")
        except ConfigurationError as error:
            yield Finding.of("settings", error)
            return
    yield Finding("settings", "ok", "the environment can be read")


def check_folder(data: Path) -> Finding:
    """The data folder of the embedded database."""
    if not data.exists():
        return Finding("data folder", "warn", f"{data} does not exist yet", "`dangol up` makes it")
    if not os.access(data, os.W_OK | os.X_OK):
        error = folder_error(PermissionError(13, "Permission denied"), f"write into {data}")
        return Finding.of("data folder", error)
    room = shutil.disk_usage(data).free
    if room < _ROOM:
        return Finding(
            "data folder",
            "warn",
            f"{data} has only {room // 2**20} MiB of disk left",
            "free some space, or move the folder and use --data",
        )
    if not (data / PGDATA).is_dir():
        return Finding("data folder", "warn", f"{data} is empty", "`dangol up` fills it")
    return Finding("data folder", "ok", f"{data}, {room // 2**30} GiB free")


async def check_database(
    dsn: str, environment: Mapping[str, str], ledger: Ledger | None = None
) -> AsyncIterator[Finding]:
    """The database, and all that stands in it, from the schema to the workspace's channels."""
    try:
        pool = await open_pool(dsn, size=1, name="doctor")
    except DangolError as error:
        yield Finding.of("database", error)
        return
    try:
        version = await pool.fetchval("SHOW server_version")
        yield Finding("database", "ok", f"PostgreSQL {version} answers")
        schema = await _schema(pool)
        yield schema
        if schema.verdict == "fail":
            return
        async for finding in check_log(pool, kafka_settings(read_settings())):
            yield finding
        for finding in (*await check_journeys(pool), *await _put_aside(pool)):
            yield finding
        for finding in await check_erasures(pool, ledger):
            yield finding
        if "DANGOL_WEBHOOK_SECRET" not in environment:
            for finding in await _unsigned(pool):
                yield finding
        told = (*await _pauses(pool), *await _refusal_lists(pool), *await receipts_lost(pool))
        clock = await log_clock(pool)
        told += (*await check_mail_domains(pool, clock), *await check_notices(pool, clock))
        for finding in told:
            yield finding
        async with pool.acquire() as connection:
            published = await newest(connection)
        async for finding in _workspace(published, environment):
            yield finding
    finally:
        await pool.close()


async def _schema(pool: Pool) -> Finding:
    async with pool.acquire() as connection:
        found = await schema_on(connection)
    revision = found.revision
    if revision == HEAD:
        return Finding("schema", "ok", f"revision {revision}")
    if found.is_ready:
        return Finding(
            "schema",
            "warn",
            f"the database's schema is {revision}, of a newer release; this one ({HEAD}) may run on"
            " it until the upgrade is done",
            "bring the new release everywhere",
        )
    return Finding(
        "schema",
        "fail",
        f"the database's schema is {revision or 'missing'}, this release needs {HEAD}",
        "run `dangol migrate`, or the release that fits the database",
    )


async def _put_aside(pool: Pool) -> list[Finding]:
    rows = await pool.fetch(
        "SELECT source, left(reason, 80) AS reason, count(*) AS n FROM set_aside"
        " WHERE at > (SELECT max(at) FROM set_aside) - $1::interval"
        " GROUP BY 1, 2 ORDER BY n DESC LIMIT 3",
        timedelta(days=1),
    )
    return [
        Finding(
            "put aside",
            "warn",
            f"{row['n']} from {row['source']}: {row['reason']}",
            "they stand in the table set_aside, as they came",
        )
        for row in rows
    ]


async def _unsigned(pool: Pool) -> list[Finding]:
    count = await pool.fetchval("SELECT count(*) FROM calls WHERE status = 'queued'")
    if not count:
        return []
    return [
        Finding(
            "calls",
            "fail",
            f"{count} calls wait, because there is no secret to sign them with",
            "set DANGOL_WEBHOOK_SECRET where dispatch runs; docs/calls.md says how one is made",
        )
    ]


async def _pauses(pool: Pool) -> list[Finding]:
    """What the running dispatchers find broken."""
    return [
        Finding(
            f"channel {told.channel}",
            "fail",
            f"paused since {told.since:%Y-%m-%d %H:%M:%S} UTC, {told.times} tries in a row by"
            f" {told.adapter or 'no adapter'} failed: {told.why}",
            "its messages wait and are sent once it works; nothing needs to be sent again",
        )
        for told in await hear(pool)
    ]


async def _refusal_lists(pool: Pool) -> list[Finding]:
    """The vendors' 080 lists: whoever has called there must get no advertising."""
    found = []
    for row in await open_lists(pool):
        read = f"{row['synced_at']:%Y-%m-%d %H:%M} UTC" if row["synced_at"] else "never"
        check = f"080 {row['provider']}"
        if row["failed_at"] is None:
            found.append(Finding(check, "ok", f"its list was read to the end at {read}"))
            continue
        found.append(
            Finding(
                check,
                "fail",
                f"its list cannot be read ({row['why']}); the last time that went well: {read}",
                "check the vendor's keys where dispatch runs; it is tried again every minute",
            )
        )
    return found


async def _workspace(
    published: Published | None, environment: Mapping[str, str]
) -> AsyncIterator[Finding]:
    if published is None:
        yield Finding("workspace", "warn", "nothing is published yet", "dangol apply DIR")
        return
    count = len(published.journeys)
    journeys = f"{count} journey{'' if count == 1 else 's'}"
    yield Finding("workspace", "ok", f"revision {published.revision}, {journeys}")
    for name, channel in sorted(published.settings.channels.items()):
        yield await check_channel(name, channel, environment)
    bounces = bounce_settings(read_settings())
    if bounces is not None:
        async for finding in _bounces(bounces):
            yield finding
    for finding in await check_kakao(published, environment):
        yield finding
    for name, source in sorted(published.settings.sources.items()):
        yield check_source(name, source, environment)
    for finding in (*_unasked(published, environment), *_duties(published)):
        yield finding


def _duties(published: Published) -> Iterator[Finding]:
    """What a pack asks for and is not there."""
    for warning in load_workspace(published.files).warnings:
        if warning.code == "pack_duty":
            yield Finding("law", "warn", warning.message, warning.hint)


def _unasked(published: Published, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Templates with a live source that cannot be asked, because nothing can be signed."""
    if "DANGOL_WEBHOOK_SECRET" in environment:
        return
    templates = Templates(published.files)
    asking = []
    for name in templates:
        with contextlib.suppress(TemplateFailed):
            template = templates[name]
            asking += [template.name.path] if template.call is not None else []
    if asking:
        yield Finding(
            "live sources",
            "fail",
            f"{asking[0]} asks one before it is sent, and there is no secret to sign that with:"
            " such messages are dropped as not_verified",
            "set DANGOL_WEBHOOK_SECRET where dispatch runs; docs/calls.md says how one is made",
        )


def check_source(name: str, source: WebhookSource, environment: Mapping[str, str]) -> Finding:
    """Whether deliveries of this sender can be verified; without a secret each is refused."""
    check = f"source {name}"
    try:
        secrets = webhook.secrets_of(name, source, environment)
    except ConfigurationError as error:
        return Finding.of(check, error)
    known = "one secret" if len(secrets) == 1 else f"{len(secrets)} secrets, while one is changed"
    return Finding(check, "ok", f"its deliveries are verified with {known}")


async def check_channel(
    name: str, channel: ChannelSettings, environment: Mapping[str, str]
) -> Finding:
    """Whether the channel's adapter has what it needs, and its server lets us in."""
    check = f"channel {name}"
    setup = Setup(
        channel=name,
        settings=channel,
        environment=environment,
        timeout=_PATIENCE,
        concurrency=1,
    )
    try:
        adapter = registry.create(setup)
        await adapter.close()
        if channel.adapter == "smtp":
            return await _mail_server(check, environment["DANGOL_SMTP_URL"])
    except ConfigurationError as error:
        return Finding.of(check, error)
    if channel.adapter == "log":
        return Finding(check, "ok", "adapter log: nothing leaves the house")
    return Finding(check, "ok", f"adapter {channel.adapter} has what it needs")


async def _mail_server(check: str, url: str) -> Finding:
    """Connects, greets and logs in; sends nothing."""
    server = smtp_pool.server_of(url)
    where = f"the mail server {server.host}, port {server.port},"
    pool = smtp_pool.Pool(server, size=1, timeout=_PATIENCE)
    try:
        async with asyncio.timeout(2 * _PATIENCE), pool.connection():
            pass
    except (SMTPException, OSError, ValueError) as error:
        said = str(error) or type(error).__name__
        return Finding(
            check, "fail", f"{where} cannot be used: {said}", "check DANGOL_SMTP_URL and the server"
        )
    finally:
        await pool.close()
    return Finding(check, "ok", f"{where} answers" + (" and lets us in" if server.user else ""))


async def _bounces(bounces: BounceSettings) -> AsyncIterator[Finding]:
    """Where mail that comes back is taken; reads nothing."""
    if bounces.listen is not None:
        host, port = bounces.listen
        said = f"dispatch takes mail for {bounces.domain} at {host}, port {port}"
        yield Finding("bounces", "ok", said)
        if bounces.tls is not None:
            yield _certificate(*bounces.tls)
    account = bounces.mailbox
    if account is None:
        return
    where = f"the mailbox {account.folder} at {account.host}, port {account.port},"

    def look() -> None:
        with mailbox.signed_in(account, readonly=True):
            pass

    try:
        await asyncio.to_thread(look)
    except (imaplib.IMAP4.error, OSError) as error:
        refused = "it refuses the user, the password or the folder"
        why = error.strerror or type(error).__name__ if isinstance(error, OSError) else refused
        yield Finding(
            "bounces",
            "fail",
            f"{where} cannot be opened: {why}",
            "check DANGOL_BOUNCE_IMAP_URL and the server",
        )
        return
    yield Finding("bounces", "ok", f"{where} lets us in")


def _certificate(chain: Path, key: Path) -> Finding:
    """Whether the bounce door's can be used, and for how long."""
    try:
        until = Certificate(chain, key).valid_until()
    except ConfigurationError as error:
        return Finding.of("bounces", error)
    left = until - wall_clock()
    said = f"the door's certificate is valid until {until:%Y-%m-%d %H:%M} UTC"
    if left < _RENEWED:
        verdict: Verdict = "fail" if left < timedelta() else "warn"
        return Finding("bounces", verdict, said, "renew it; new files are taken over as they are")
    return Finding("bounces", "ok", said)


def worst(findings: Iterable[Finding]) -> Verdict:
    verdicts = {finding.verdict for finding in findings}
    return "fail" if "fail" in verdicts else "warn" if "warn" in verdicts else "ok"
