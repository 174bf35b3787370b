"""Break the house on purpose, and see whether anybody got a message too many or too few.

python -m tests.chaos --events 1000000 --minutes 30 --seed 7 --log kafka --result docs/chaos.json

Everything runs on this machine: a PostgreSQL, Apache Kafka if asked for, a mail server that writes
down what it gets, and the services as processes of their own. With --database-url and --log-url the
run is on servers of yours, which it does not stop. With the same seed the same visitors
do the same things and the same faults come at the same moments; what falls together in between is
the machine's affair. A run that finds something keeps its folder, and
`python -m tests.chaos --check FOLDER --customer ID` tells that customer's story again.
"""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop

from bench import machine
from shared.clock import wall_clock
from shared.errors import DangolError
from tests.chaos.checking import check_folder
from tests.chaos.given import DISCARD, Given, given_log
from tests.chaos.running import Options, Outcome, RestlessError, run
from tests.chaos.verdict import Verdict


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", choices=("postgres", "kafka"), default="postgres")
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1, help="of Apache Kafka")
    parser.add_argument(
        "--database-url", metavar="URL",
        help="a database of yours, empty, instead of a server of the run's own",
    )  # fmt: skip
    parser.add_argument(
        DISCARD, action="store_true", help="delete all that Dangol has in that database first"
    )
    parser.add_argument(
        "--log-url", metavar="URL", help="a Kafka of yours; a topic is made unless one is named"
    )
    parser.add_argument(
        "--pace", type=float, help="mean seconds between two faults of a line; more in long runs"
    )
    parser.add_argument("--folder", type=Path, help="a new folder for data and logs, which is kept")
    parser.add_argument("--result", type=Path, help="write figures and findings to this file")
    parser.add_argument("--check", type=Path, metavar="FOLDER", help="judge a kept run again")
    parser.add_argument("--customer", help="with --check: tell this customer's story")
    return parser.parse_args()


def main() -> int:
    arguments = _arguments()
    try:
        return _check(arguments) if arguments.check else _run(arguments)
    except DangolError as error:
        print(f"error: {error}" + (f"\n  → {error.hint}" if error.hint else ""), file=sys.stderr)
        return 2


def _run(arguments: argparse.Namespace) -> int:
    folder: Path = arguments.folder or Path(tempfile.mkdtemp(prefix="dangol-chaos-"))
    options = Options(
        folder, arguments.seed, arguments.events, arguments.minutes * 60,
        kafka=arguments.log == "kafka" or arguments.log_url is not None, brokers=arguments.brokers,
        pace=arguments.pace or max(4.0, arguments.minutes / 2),
        rest=max(240.0, arguments.minutes * 80), discard=arguments.discard_customers,
        given=None if arguments.database_url is None else Given(arguments.database_url),
    )  # fmt: skip
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            outcome = runner.run(_on_what_is_given(options, arguments.log_url))
        except RestlessError as error:
            print(f"\nSeed {options.seed}: it did not come to rest: {error}\nKept: {folder}")
            return 1
    _report(outcome.verdict, outcome.told)
    if arguments.result:
        _write(arguments.result, outcome.verdict, outcome.told)
    if outcome.verdict.is_good:
        if not arguments.folder:
            shutil.rmtree(folder)
        return 0
    print(f"\nSeed {options.seed}. Kept: {folder}\nOne customer's story:")
    print(f"  python -m tests.chaos --check {folder} --customer ID")
    return 1


async def _on_what_is_given(options: Options, log: str | None) -> Outcome:
    if log is not None:
        options = replace(options, given_log=await given_log(log))
        _say(f"the log is {options.given_log}")
    return await run(options, _say)


def _check(arguments: argparse.Namespace) -> int:
    verdict = asyncio.run(check_folder(arguments.check, arguments.customer, arguments.database_url))
    print("\n".join(verdict.figures.pop("story")))
    _report(verdict, {"figures": verdict.figures})
    return 0 if verdict.is_good else 1


def _report(verdict: Verdict, told: dict[str, Any]) -> None:
    verdict.figures.pop("story", None)
    print(json.dumps(told, indent=2, default=str))
    for finding in verdict.findings:
        print(f"- {finding}")
    if verdict.is_good:
        print("Everything arrived that should have, once, and nothing else.")
    else:
        print(f"Findings: {dict(verdict.totals)}")


def _write(file: Path, verdict: Verdict, told: dict[str, Any]) -> None:
    result = {
        "measured_at": wall_clock().isoformat(timespec="seconds"),
        "machine": machine.describe(),
        **told,
        "findings": dict(verdict.totals),
    }
    file.write_text(json.dumps(result, indent=2, default=str) + "\n")


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
