"""promtool, as the tests call it."""

import os
import subprocess
from pathlib import Path

import pytest


def promtool() -> str:
    """Its path. Skips where nobody has promised it; fails in CI."""
    got = subprocess.run(
        [str(Path(__file__).parent / "get")], capture_output=True, text=True, check=False
    )
    if got.returncode == 3 and not os.environ.get("CI"):
        pytest.skip(f"Prometheus' rules are NOT tested: {got.stderr.strip()}")
    assert got.returncode == 0, got.stderr
    return got.stdout.strip().splitlines()[-1]


def run(*arguments: str) -> tuple[int, str]:
    """promtool's status and words."""
    done = subprocess.run([promtool(), *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr
