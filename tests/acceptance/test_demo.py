"""`dangol demo` as somebody sees it: the day's outcome, the mails, the exit status."""

import asyncio
import email
import email.message
import email.policy
import os
import re
import signal
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.cli.demo.ending import show_outcome
from services.cli.demo.play import Outcome
from services.cli.demo.screen import Screen
from tests.patience import SOON, slowness

SPEED = 3600.0
"""A shop day in 25 seconds on a machine at rest; the demo itself takes its time."""


async def start(folder: Path, speed: float) -> asyncio.subprocess.Process:
    environment = {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(folder),
    }
    return await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "dangol"), "demo", "--speed", f"{speed:.0f}",
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


def mails_in(folder: Path) -> list[email.message.EmailMessage]:
    return [
        email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
        for file in folder.glob("dangol-demo-*/mails/*.eml")
    ]


def data_in(folder: Path) -> list[Path]:
    return list(folder.glob("dangol-demo-*/data"))


def row(printed: str, name: str) -> str:
    """The line of the outcome's table that begins with the name, its continuation included."""
    match = re.search(rf"^ {name} +(\d.*(?:\n {{6,}}\S.*)*)", printed, re.MULTILINE)
    assert match is not None, printed
    return " ".join(match[1].split())


@pytest.mark.slow
async def test_the_shops_day_ends_as_its_customers_made_it(tmp_path: Path) -> None:
    """An hour passes in a second, which a busy machine may miss: then the day goes by slower."""
    (tmp_path / "slower").mkdir()
    try:
        await the_day(tmp_path, SPEED / slowness())
    except AssertionError:
        if slowness() == 1:
            raise
        await the_day(tmp_path / "slower", SPEED / 4 / slowness())


async def the_day(tmp_path: Path, speed: float) -> None:
    process = await start(tmp_path, speed)
    out, err = await process.communicate()
    printed = out.decode()
    assert process.returncode == 0, printed + err.decode()
    assert err == b""
    assert row(printed, "sent") == "22 e-mail 18 · SMS 3 · push 1"
    assert row(printed, "held") == "2 overnight: 1 sent in the morning · 1 withdrawn"
    number, _, reasons = row(printed, "not sent").partition(" ")
    assert number == "6"
    assert sorted(reasons.split(" · ")) == [
        "frequency cap 2",
        "no address 1",
        "no consent 1",
        "opted out 1",
        "withdrawn 1",
    ]
    assert row(printed, "failed") == "1 no such mailbox 1"
    assert row(printed, "arrived").endswith("18 decided as sent · duplicates 0")
    assert row(printed, "events") == "42 taken in, once each · 2 repeats of the SDK ignored"
    assert all(len(line) <= 80 for line in printed.splitlines())

    mails = mails_in(tmp_path)
    assert len(mails) == 18
    assert len({mail["Message-ID"] for mail in mails}) == 18
    got = Counter(str(mail["To"]).partition("@")[0] for mail in mails)
    assert "customer-09" not in got, "has no address"
    assert "customer-10" not in got, "its mailbox refuses"
    assert got["customer-04"] == 1, "never consented: only the receipt"
    assert got["customer-05"] == 1, "opted out after the welcome"
    advertising = [m for m in mails if "주문" not in m["Subject"] and "order" not in m["Subject"]]
    assert all(str(mail["Subject"]).startswith("(광고)") for mail in advertising)
    assert not data_in(tmp_path), "the database is thrown away"


@pytest.mark.slow
async def test_ctrl_c_stops_it_cleanly(tmp_path: Path) -> None:
    process = await start(tmp_path, SPEED / slowness())
    assert process.stdout is not None
    async with asyncio.timeout(SOON):
        while line := await process.stdout.readline():
            if b"customer-01" in line:
                break
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert process.returncode == 130
    assert b"Stopped before the day was over." in out
    assert err == b""
    assert not data_in(tmp_path)


WELL = Outcome(
    sent=Counter(email=2, sms=1),
    dropped=Counter(),
    failed=Counter(),
    held=Counter(),
    undecided=0,
    missing=frozenset(),
    unasked=frozenset(),
    received=2,
    duplicates=0,
    posted=5,
    repeated=1,
    taken_in=4,
)


def test_an_outcome_is_well_when_decisions_inbox_and_events_agree() -> None:
    assert WELL.well


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"missing": frozenset({"<a>"})}, "did not arrive: 1"),
        ({"unasked": frozenset({"<a>"})}, "without a decision: 1"),
        ({"duplicates": 1}, "more than once: 1"),
        ({"undecided": 3}, "still undecided: 3"),
        ({"failed": Counter(unknown=1)}, "may or may not have been sent: 1"),
        ({"taken_in": 3}, "taken in: 3"),
        ({"sent": Counter(sms=1)}, "not one e-mail was sent"),
    ],
)
def test_what_is_wrong_with_an_outcome_is_told(
    wrong: dict[str, Any], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = replace(WELL, **wrong)
    show_outcome(Screen("en"), outcome)
    assert not outcome.well
    assert told in capsys.readouterr().out
