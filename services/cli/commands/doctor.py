"""`dangol doctor`."""

import asyncio
import dataclasses
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from services.cli.options import AS_JSON, DATA
from services.cli.terminal import paint, say, say_json, working
from shared.errors import DangolError

if TYPE_CHECKING:
    from services.cli.findings import Finding

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def register(app: typer.Typer) -> None:
    app.command("doctor", epilog="Example: dangol doctor")(doctor)


def doctor(data: Path = DATA, as_json: bool = AS_JSON) -> None:
    """Look for what is wrong, and say what to mend.

    Settings, data folder, database, log, workspace and its channels. Sends nothing and changes
    nothing. Exits with status 1 if something fails.
    """
    failed = False
    for finding in _findings(data):
        failed |= finding.verdict == "fail"
        if as_json:
            say_json(dataclasses.asdict(finding))
        else:
            _say(finding)
    if failed:
        raise typer.Exit(1)


def _findings(data: Path) -> "Iterator[Finding]":
    from services.cli import checkup
    from services.cli.database import database, has_data
    from services.cli.findings import Finding

    settings = list(checkup.check_environment(os.environ))
    yield from settings
    if checkup.worst(settings) == "fail":
        return
    if not os.environ.get("DANGOL_DATABASE_URL"):
        folder = checkup.check_folder(data)
        yield folder
        if folder.verdict == "fail" or not has_data(data):
            return
    try:
        with working("looking into the database"), database(data) as found:
            findings = asyncio.run(_database(found.dsn, data))
    except DangolError as error:
        findings = [Finding.of("database", error)]
    yield from findings


async def _database(dsn: str, data: Path) -> "list[Finding]":
    from services.cli import checkup
    from services.cli.environment import read_settings
    from services.cli.local import erasure_ledger

    ledger = erasure_ledger(read_settings(), data)
    return [finding async for finding in checkup.check_database(dsn, os.environ, ledger)]


def _say(finding: "Finding") -> None:
    verdict = paint(f"{finding.verdict:<5}", sys.stdout, fg=_COLOURS[finding.verdict], bold=True)
    say(f"{verdict} {finding.check:<13} {finding.message}")
    if finding.hint:
        say(f"{'':<19} → {finding.hint}")
