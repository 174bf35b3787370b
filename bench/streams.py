"""The journey worker alone, from Apache Kafka, beside stream libraries on the same broker.

`python -m bench.streams [--quick] [--rounds N] [--peers DIR]`. The same twenty journeys
(bench/peers/journeys.py), the same events; one process each, taking turns, with the broker and
PostgreSQL on the same cores. Dangol stores everything in one transaction a batch: history, state,
timers, messages, counts and the offset. The peers run in environments of their own, which are made
under `--peers` (bench/peers/*.txt pins them).
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import uvloop
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bench import machine
from bench.peers.journeys import events, workspace
from shared.clock import wall_clock
from shared.db import embedded
from shared.event import Event
from shared.log import kafka_topic
from shared.log.kafka import KafkaLog
from shared.log.kafka_settings import KafkaSettings
from tests.kafka.broker import Broker, kafka_jars

RESULTS = Path(__file__).parent / "results" / "streams.json"
_HERE = Path(__file__).parent / "peers"
_PEERS = {"quixstreams": "quix.py", "bytewax": "bytewax_flow.py", "faust-streaming": "faust_app.py"}
_SLOW = frozenset({"faust-streaming"})
"""Gets a tenth of the events, as it would take minutes otherwise."""
_JVM = ("-Xms768m", "-Xmx768m", "-XX:+UseSerialGC")
_CUSTOMERS = 100_000
_PARTITIONS = 8
_FILES = {
    "dangol.yaml": "timezone: UTC\npolicies: {consent: assumed}\n"
    'channels:\n  email: {adapter: log, from: "Shop <shop@shop.example>"}\n',
    "templates/hello/email.liquid": '---\nsubject: "Hello"\n---\n<p>Hello</p>\n',
}
_DANGOL = str(Path(sys.executable).parent / "dangol")


def python_of(peers: Path, name: str) -> Path:
    """The interpreter of a peer's environment, which is made when it is not there."""
    folder = peers / name
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        wanted = _HERE / f"{name}.txt"
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", wanted], check=True)
    return python


async def _fill_peers_topic(broker: Broker, topic: str, rows: list[dict[str, Any]]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
    await admin.start()
    topics = [
        NewTopic(name, _PARTITIONS, 1, topic_configs={"retention.ms": "604800000"})
        for name in (topic, f"{topic}-out")
    ]
    await admin.create_topics(topics)
    await admin.close()
    producer = AIOKafkaProducer(
        bootstrap_servers=broker.address, linger_ms=20, max_batch_size=256 * 1024
    )
    await producer.start()
    for row in rows:
        await producer.send(topic, json.dumps(row).encode(), key=row["userId"].encode())
    await producer.stop()


def _as_event(row: dict[str, Any]) -> Event:
    return Event(
        id=row["messageId"],
        kind="track",
        timestamp=datetime.now(UTC),
        name=row["event"],
        user_id=row["userId"],
        properties=row["properties"],
        context=row["context"],
        source="bench",
    )


async def _fill_ours(log: KafkaLog, rows: list[dict[str, Any]]) -> None:
    for start in range(0, len(rows), 2_000):
        await log.append([_as_event(row) for row in rows[start : start + 2_000]])


def peer(python: Path, script: str, arguments: list[str]) -> dict[str, float]:
    done = subprocess.run(
        [python, _HERE / script, *arguments], capture_output=True, text=True, check=False,
        timeout=300,
    )  # fmt: skip
    told = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not told:
        raise RuntimeError((done.stdout + done.stderr)[-2000:])
    found: dict[str, float] = json.loads(told[-1])
    return found


@contextmanager
def worker(environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as out:
        process = subprocess.Popen([_DANGOL, "journey"], env=environment, stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def write_workspace(folder: Path, files: dict[str, str]) -> None:
    folder.chmod(0o755)  # for the account that runs PostgreSQL
    for path, text in files.items():
        (folder / "workspace" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "workspace" / path).write_text(text)


def publish(environment: dict[str, str], folder: Path) -> None:
    for command in (["migrate"], ["apply", str(folder / "workspace")]):
        done = subprocess.run(
            [_DANGOL, *command], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr)


async def ours(broker: Broker, topic: str, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Everything stored, one process; PostgreSQL's CPU is in the figure, the broker's is not."""
    with tempfile.TemporaryDirectory(prefix="dangol-bench-") as name:
        folder = Path(name)
        write_workspace(folder, _FILES | workspace())
        with embedded.connect_or_start(folder / "data") as server:
            environment = {
                **os.environ,
                "DANGOL_DATABASE_URL": server.dsn,
                "DANGOL_LOG_URL": f"kafka://{broker.address}?topic={topic}&group={topic}",
                "DANGOL_LOG_LEVEL": "warning",
            }
            await asyncio.to_thread(publish, environment, folder)
            connection = await asyncpg.connect(server.dsn)
            settings = KafkaSettings((broker.address,), topic=topic, group=topic)
            log = KafkaLog(settings, _PARTITIONS)
            try:
                await asyncio.sleep(1.1)  # the edition is in force a second after the apply
                await kafka_topic.prepare(settings, _PARTITIONS)
                await _fill_ours(log, rows)
                figures = await _take_in(connection, environment, folder, len(rows))
            finally:
                await log.close()
                await connection.close()
    return figures


async def _take_in(
    connection: asyncpg.Connection, environment: dict[str, str], folder: Path, total: int
) -> dict[str, float]:
    postmaster = int((folder / "data" / "postgres" / "postmaster.pid").read_text().split()[0])
    with worker(environment, folder / "worker.log") as process:

        def cpu() -> tuple[float, float]:
            engine = machine.usage([process.pid]).cpu_seconds
            return engine, machine.usage(sorted(machine.tree(postmaster))).cpu_seconds

        first = await _until(connection, 1)
        started, before = time.perf_counter(), cpu()
        done = await _until(connection, total)
        took, after = time.perf_counter() - started, cpu()
        rss = machine.usage([process.pid]).rss_bytes
    counted = {
        table: await connection.fetchval(f"SELECT count(*) FROM {table}")
        for table in ("history", "messages", "timers", "customers")
    }
    if counted["history"] != total:
        raise RuntimeError(f"{counted} of {total}: {(folder / 'worker.log').read_text()[-2000:]}")
    events_taken = done - first
    return {
        "events_per_second": round(events_taken / took),
        "cpu_us_per_event": round((after[0] - before[0]) / events_taken * 1e6, 1),
        "postgres_cpu_us_per_event": round((after[1] - before[1]) / events_taken * 1e6, 1),
        "messages_per_event": round(counted["messages"] / total, 2),
        "timers_per_event": round(counted["timers"] / total, 2),
        "memory_mib": round(rss / 2**20),
    }


async def _until(connection: asyncpg.Connection, wanted: int) -> int:
    async with asyncio.timeout(240):
        while True:
            reached = await connection.fetchval("SELECT sum(log_offset) FROM partitions")
            if (reached or 0) >= wanted:
                return int(reached)
            await asyncio.sleep(0.005)


async def run(broker: Broker, arguments: argparse.Namespace) -> dict[str, Any]:
    count = 20_000 if arguments.quick else 60_000
    names = [] if arguments.alone else list(_PEERS)
    pythons = {name: python_of(arguments.peers, name) for name in names}
    found: dict[str, list[dict[str, float]]] = {}
    rows = events(count, _CUSTOMERS)
    with tempfile.TemporaryDirectory(prefix="dangol-bench-peers-") as scratch:
        for number in range(arguments.rounds):
            for name in ["dangol", *names]:
                topic = f"{name}-{number}"
                speed = machine.speed()
                if name == "dangol":
                    figures = await ours(broker, topic, rows)
                else:
                    theirs = rows[: count // 10] if name in _SLOW else rows
                    await _fill_peers_topic(broker, topic, theirs)
                    folder = Path(scratch) / topic
                    given = [broker.address, topic, str(len(theirs)), str(folder)]
                    figures = await asyncio.to_thread(peer, pythons[name], _PEERS[name], given)
                    shutil.rmtree(folder, ignore_errors=True)
                figures["machine_speed"] = round((speed + machine.speed()) / 2)
                figures["load_average"] = round(os.getloadavg()[0], 1)
                found.setdefault(name, []).append(figures)
                print(f"round {number + 1}  {name:16} {figures}", flush=True)
    rates = {name: [row["events_per_second"] for row in rows] for name, rows in found.items()}
    return {
        "measured_at": wall_clock().isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "rounds": arguments.rounds,
        "events": count,
        "dangol_over": {
            name: round(
                statistics.median(a / b for a, b in zip(rates["dangol"], rates[name], strict=True)),
                2,
            )
            for name in names
        },
        "medians": machine.medians(found),
        "all": found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a third of the events")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help="without the peers; records nothing")
    parser.add_argument("--peers", type=Path, default=Path("/tmp/dangol-bench-peers"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dangol-bench-kafka-") as folder:
        broker = Broker(kafka_jars(), Path(folder) / "broker", jvm=_JVM)
        broker.start()
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                results = runner.run(run(broker, arguments))
        finally:
            broker.stop()
    if not arguments.alone and not arguments.quick:
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
        print(f"written to {RESULTS}")
    print(json.dumps(results.get("dangol_over")))


if __name__ == "__main__":
    main()
