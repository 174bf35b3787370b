"""A short run of the chaos on each log: kills, zombies, servers that go away.

`python -m tests.chaos` is the same for longer; docs/chaos.md tells what a long run came to.
"""

from pathlib import Path

import pytest

from tests.chaos.checking import check_folder
from tests.chaos.running import Options, run
from tests.chaos.verdict import Verdict


def told(options: Options, verdict: Verdict) -> str:
    kind = "kafka" if options.kafka else "postgres"
    again = (
        f"python -m tests.chaos --seed {options.seed} --events {options.events}"
        f" --minutes {options.seconds / 60:.3f} --pace {options.pace} --log {kind}"
    )
    findings = "\n".join(f"- {finding}" for finding in verdict.findings)
    return f"{dict(verdict.totals)}\n{findings}\nthe same again: {again}\nkept: {options.folder}"


async def broken_by(options: Options, *faults: str) -> None:
    """Faults of these kinds came, and nobody got a message too many or too few."""
    outcome = await run(options, print)
    assert outcome.verdict.is_good, told(options, outcome.verdict)
    assert set(faults) <= outcome.told["faults"].keys(), "the seed's faults came"
    figures = outcome.told["figures"]
    assert figures["mails"] > 100
    assert figures["withdrawn"] > 0
    assert figures["merged customers"] > 20
    assert figures["decisions"]["dropped (frequency_cap)"] > 0
    assert figures["decisions judged"]["as simulated"] > 500


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_chaos_on_the_log_in_postgres(tmp_path: Path) -> None:
    await broken_by(
        Options(tmp_path, seed=184, events=4000, seconds=27, pace=3),
        "kill journey", "stop journey", "kill dispatch", "stop dispatch", "kill-postgres",
    )  # fmt: skip
    await a_false_record_is_found(tmp_path)


async def a_false_record_is_found(folder: Path) -> None:
    """A mail that went missing, one that came twice, and one that nobody sent."""
    mails = folder / "mails"
    first, second, *rest = mails.read_text().splitlines()
    mails.write_text("\n".join([second, second, "stranger u1@shop.example", *rest]) + "\n")
    verdict = await check_folder(folder, None)
    assert dict(verdict.totals) == {"mail": 2, "mail of no message": 1}, first


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_chaos_on_the_log_in_kafka(tmp_path: Path) -> None:
    await broken_by(
        Options(tmp_path, seed=208, events=4000, seconds=26, pace=3, kafka=True),
        "kill journey", "stop journey", "kill dispatch", "kill-broker",
    )  # fmt: skip
