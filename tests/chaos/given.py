"""A database and a log that an operator gives: servers that this tool neither starts nor stops.

The services of the run reach the database through links all the same, so that their ways to it can
be cut. A Kafka that is given tells its clients its own addresses, and is left in peace.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from shared.db.connect import unreachable
from shared.db.migrate import migrate
from shared.db.tables import metadata
from shared.errors import ConfigurationError
from shared.log.kafka_settings import KafkaSettings, kafka_settings
from shared.settings import Settings
from tests.chaos.links import Address

_HOLDS = ("workspaces", "customers", "history", "messages", "log")
"""Tables that are empty where nobody has used Dangol."""
_OWN = ("alembic_version", "chaos_batches")
_FUNCTIONS = """
SELECT p.oid::regprocedure::text AS name FROM pg_proc p
JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = current_schema() AND (p.proname LIKE 'dangol\\_%' OR p.proname = 'chaos_batch')
"""
DISCARD = "--discard-customers"


@dataclass(frozen=True, slots=True)
class Given:
    """A PostgreSQL database, by its URL."""

    dsn: str

    def __post_init__(self) -> None:
        """Raises ConfigurationError for a URL through which no link can lead."""
        parts, query = urlsplit(self.dsn), dict(parse_qsl(urlsplit(self.dsn).query))
        if parts.scheme not in ("postgresql", "postgres"):
            raise ConfigurationError("--database-url is to begin with postgresql://")
        if not parts.hostname and not query.get("host"):
            raise ConfigurationError("--database-url names no host")
        if query.get("sslmode") == "verify-full":
            raise ConfigurationError(
                "--database-url asks for sslmode=verify-full; the services reach the server through"
                " a link on this machine, whose name its certificate does not have",
                hint="use sslmode=verify-ca",
            )

    @property
    def address(self) -> Address:
        parts = urlsplit(self.dsn)
        query = dict(parse_qsl(parts.query))
        host = unquote(parts.hostname or query["host"])
        port = parts.port or int(query.get("port", 5432))
        return Path(host) / f".s.PGSQL.{port}" if host.startswith("/") else (host, port)

    @property
    def through_link(self) -> str:
        """The URL for services, with `{port}` for that of a link."""
        parts = urlsplit(self.dsn)
        query = {n: v for n, v in parse_qsl(parts.query) if n not in ("host", "port")}
        if isinstance(self.address, Path):
            query["sslmode"] = "disable"
        user, at, _ = parts.netloc.rpartition("@")
        rest = f"{parts.path}?{urlencode(query, quote_via=quote)}"
        return f"{parts.scheme}://{user}{at}127.0.0.1:{{port}}{rest}"

    async def prepare(self, partitions: int, *, discard: bool) -> int:
        """Make it empty and ready; returns its number of partitions.

        Raises DatabaseUnreachable, or ConfigurationError where somebody has used it.
        """
        with unreachable(self.dsn):
            connection = await asyncpg.connect(self.dsn, timeout=10)
        try:
            held = await _held(connection)
            if held and not discard:
                raise ConfigurationError(
                    f"the database holds {held}: this tool judges a database by all that is in it,"
                    " and publishes a workspace of its own there",
                    hint=f"give an empty one, or {DISCARD} to delete all that Dangol has in it",
                )
            if held or await _exists(connection, "chaos_batches"):
                await _discard(connection)
            await migrate(self.dsn, partitions)
            return int(await connection.fetchval("SELECT count(*) FROM partitions"))
        finally:
            await connection.close()


async def _exists(connection: "asyncpg.Connection[asyncpg.Record]", table: str) -> bool:
    return await connection.fetchval("SELECT to_regclass($1)", table) is not None


async def _held(connection: "asyncpg.Connection[asyncpg.Record]") -> str:
    """What somebody has left in it, in words; empty if nothing."""
    found = []
    for table in _HOLDS:
        if await _exists(connection, table):
            query = f"SELECT EXISTS (SELECT FROM {table})"
            if await connection.fetchval(query):
                found.append(table)
    return ", ".join(found)


async def _discard(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """All that Dangol and this tool have in the database, and nothing else."""
    async with connection.transaction():
        for table in (*(table.name for table in metadata.sorted_tables), *_OWN):
            await connection.execute(f'DROP TABLE IF EXISTS "{table}" CASCADE')
        for row in await connection.fetch(_FUNCTIONS):
            await connection.execute(f"DROP FUNCTION IF EXISTS {row['name']} CASCADE")


async def given_log(url: str) -> str:
    """The URL with a topic that is new. Raises ConfigurationError where that is not so."""
    if "topic=" not in url:
        name = f"dangol.chaos.{secrets.token_hex(4)}"
        url += f"{'&' if '?' in url else '?'}topic={name}&group={name}"
    settings = kafka_settings(Settings(log_url=url))
    assert settings is not None, "it has a URL"
    if settings.topic in await _topics(settings):
        raise ConfigurationError(
            f"the topic {settings.topic} exists: this tool judges all that is in it",
            hint="name another one, or none and one is made; delete it yourself afterwards",
        )
    return url


async def _topics(settings: KafkaSettings) -> list[str]:
    admin = AIOKafkaAdminClient(**settings.client(), request_timeout_ms=10_000)
    try:
        await admin.start()
        return list(await admin.list_topics())
    except (KafkaError, OSError) as error:
        raise ConfigurationError(
            f"cannot connect to Kafka at {settings.where}: {error or type(error).__name__}",
            hint="check --log-url, and DANGOL_KAFKA_USER and DANGOL_KAFKA_PASSWORD",
        ) from error
    finally:
        await admin.close()
