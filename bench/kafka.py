"""HTTP to committed decision with the log in Apache Kafka, beside the log in PostgreSQL.

`python -m bench.kafka [--quick]`. A real broker (see tests/kafka) on the same cores as everything
else; rounds take turns, each on a fresh database and topic. One process does everything.
"""

import argparse
import asyncio
import itertools
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

from bench import machine
from bench.pipeline import events_through
from shared.clock import wall_clock
from tests.kafka.broker import Broker, kafka_jars

RESULTS = Path(__file__).parent / "results" / "kafka.json"
_JVM = ("-Xms512m", "-Xmx512m", "-XX:+UseSerialGC")


async def run(broker: Broker, quick: bool) -> dict[str, Any]:
    assert broker.process is not None
    pid = broker.process.pid
    n, rounds = (5, 1) if quick else (1, 3)
    topics = (f"kafka://{broker.address}?topic=bench-{n}" for n in itertools.count())
    plans: dict[str, Callable[[str | None], Any]] = {
        "events_in_batches_of_100": lambda url: events_through(100, 100_000 // n, 8, url),
        "single_events": lambda url: events_through(1, 20_000 // n, 64, url),
    }
    found: dict[str, list[dict[str, float]]] = {}
    for number in range(rounds):
        for name, plan in plans.items():
            for log in ("postgres", "kafka"):
                speed, load = machine.speed(), os.getloadavg()[0]
                before = machine.usage([pid]).cpu_seconds
                figures = await plan(next(topics) if log == "kafka" else None)
                figures["broker_cpu_seconds"] = round(machine.usage([pid]).cpu_seconds - before, 2)
                figures["machine_speed"] = round((speed + machine.speed()) / 2)
                figures["load_average"] = round(load, 1)
                found.setdefault(f"{name}_{log}", []).append(figures)
                print(f"round {number + 1}  {name}_{log} {figures}", flush=True)
    return {
        "measured_at": wall_clock().isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "rounds": rounds,
        "quick": quick,
        "medians": machine.medians(found),
        "all": found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the size, one round")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dangol-bench-kafka-") as folder:
        broker = Broker(kafka_jars(), Path(folder) / "broker", jvm=_JVM)
        broker.start()
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                results = runner.run(run(broker, arguments.quick))
        finally:
            broker.stop()
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(f"written to {RESULTS}")


if __name__ == "__main__":
    main()
