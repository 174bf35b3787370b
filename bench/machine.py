"""What the machine was like while a figure was taken: its speed, and processes' CPU and memory.

Machines of this kind change their speed under a noisy neighbour, by up to 1.7 times for minutes.
So every figure is written down with the speed of a fixed loop beside it, and figures of different
runs are compared as ratios to that speed.
"""

import json
import os
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SAMPLE = json.dumps({"a": [{f"k{i}": i, "s": "x" * 20} for i in range(40)]})
_TICKS = os.sysconf("SC_CLK_TCK")


def speed() -> float:
    """Runs a second of a fixed loop of JSON decoding, on one core."""
    started = time.perf_counter()
    for _ in range(400):
        json.loads(_SAMPLE)
    return 400 / (time.perf_counter() - started)


def medians(found: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    """Of each figure of each row, over its rounds."""
    return {
        name: {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        for name, rows in found.items()
    }


def describe() -> dict[str, object]:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
    }


@dataclass(frozen=True, slots=True)
class Usage:
    cpu_seconds: float
    rss_bytes: int
    """Proportional set size where the kernel tells it: shared pages are counted once."""


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            found.setdefault(int(fields[1]), []).append(int(entry.name))
    return found


def tree(pid: int) -> list[int]:
    """The process and all its descendants."""
    children = _children()
    found, waiting = [], [pid]
    while waiting:
        at = waiting.pop()
        found.append(at)
        waiting.extend(children.get(at, ()))
    return found


def usage(pids: list[int]) -> Usage:
    cpu, memory = 0.0, 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            cpu += (int(fields[11]) + int(fields[12])) / _TICKS
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        except PermissionError:
            rollup = ""
        for line in rollup.splitlines():
            if line.startswith("Pss:"):
                memory += int(line.split()[1]) * 1024
    return Usage(cpu, memory)
