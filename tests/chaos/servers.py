"""The servers that are broken: a real PostgreSQL and, if asked for, real Apache Kafka brokers."""

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import asyncpg

from shared.db import embedded
from shared.db.embedded import EmbeddedServer
from shared.db.migrate import migrate
from tests.chaos.links import Address
from tests.databases import PARTITIONS, lay_out
from tests.kafka.broker import Broker, kafka_jars
from tests.processes import free_port

DATABASE = "chaos"
_CONNECTIONS = "200"
"""As of a server that services share; the embedded one is made for one process."""


class Postgres:
    """In a folder of its own, over its socket; killed and started again on the same data."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server: EmbeddedServer | None = None

    async def start(self) -> None:
        if not self._folder.exists():
            await asyncio.to_thread(lay_out, self._folder)
        embedded.SETTINGS["max_connections"] = _CONNECTIONS
        self._server = await asyncio.to_thread(embedded.start, self._folder)

    @property
    def server(self) -> EmbeddedServer:
        assert self._server is not None, "it was started before"
        return self._server

    @property
    def address(self) -> Address:
        return self.server.sockets / ".s.PGSQL.5432"

    @property
    def dsn(self) -> str:
        """Past every link, for who looks on."""
        return dsn_of(self.server, DATABASE)

    async def create(self, partitions: int) -> None:
        """From what has been laid out, if that has so many partitions."""
        template = "postgres" if partitions == PARTITIONS else "template0"
        connection = await asyncpg.connect(dsn_of(self.server, "template1"))
        await connection.execute(f"CREATE DATABASE {DATABASE} TEMPLATE {template}")
        await connection.close()
        await migrate(self.dsn, partitions)

    async def stop(self) -> None:
        if self._server is not None:
            await asyncio.to_thread(embedded.stop, self._server)

    async def kill(self) -> None:
        """`kill -9` of the postmaster; its sessions end when they notice."""
        process = self.server.process
        assert process is not None
        os.kill(self.server.pid, signal.SIGKILL)
        await asyncio.to_thread(process.wait)

    async def restart(self) -> None:
        """Another server on the same data, where the last one was killed or stopped."""
        await self.start()


def dsn_of(server: EmbeddedServer, database: str) -> str:
    return server.dsn.replace("/postgres?", f"/{database}?")


class Kafka:
    """Brokers whose clients come through links: what they advertise is the links' ports."""

    def __init__(self, folder: Path, count: int) -> None:
        jars = kafka_jars()
        self.brokers = [Broker(jars, folder / f"broker-{n + 1}") for n in range(count)]
        self._inside = [free_port() for _ in self.brokers]

    def advertise(self, ports: Sequence[int]) -> None:
        """Before the first start: the ports at which clients find the brokers."""
        voters = ",".join(
            f"{n}@127.0.0.1:{broker.controller_port}" for n, broker in enumerate(self.brokers, 1)
        )
        copies = str(min(3, len(self.brokers)))
        for number, (broker, port) in enumerate(zip(self.brokers, ports, strict=True), 1):
            inside = f"INSIDE://127.0.0.1:{self._inside[number - 1]}"
            broker.properties |= {
                "node.id": str(number),
                "controller.quorum.voters": voters,
                "listeners": f"PLAINTEXT://127.0.0.1:{broker.port},{inside},"
                f"CONTROLLER://127.0.0.1:{broker.controller_port}",
                "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port},{inside}",
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT,"
                "CONTROLLER:PLAINTEXT",
                "inter.broker.listener.name": "INSIDE",
                "offsets.topic.replication.factor": copies,
            }

    async def start(self) -> None:
        await asyncio.gather(*(asyncio.to_thread(broker.start) for broker in self.brokers))

    async def restart(self, number: int) -> None:
        await asyncio.to_thread(self.brokers[number].start)

    def kill(self, number: int) -> None:
        self.brokers[number].kill()

    async def stop(self) -> None:
        """For good: their data go, since what they held has been read."""
        await asyncio.gather(*(asyncio.to_thread(broker.stop) for broker in self.brokers))
