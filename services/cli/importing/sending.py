"""Posting a file's events in batches, at a bounded rate, from where a run before stopped."""

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import httpx

from services.cli.importing.rows import Row
from shared.errors import BadInput, ConfigurationError, Forbidden, Unauthorized, Unavailable

BATCH = 200
_BATCH_BYTES = 1024 * 1024
_PATIENCE = 300.0
"""Seconds without a success after which it gives up; the next run goes on from there."""
_LONGEST_WAIT = 60.0


@dataclass
class Progress:
    """How far a file has been taken in; kept beside it until it is through."""

    fingerprint: str
    offset: int = 0
    line: int = 0
    sent: int = 0
    rejected: int = 0

    @classmethod
    def of(cls, file: Path, kept: Path) -> "Progress":
        """Where the run before stopped, if it was with this very file."""
        fresh = cls(_fingerprint(file))
        try:
            found = cls(**json.loads(kept.read_text()))
        except (OSError, ValueError, TypeError):
            return fresh
        return found if found.fingerprint == fresh.fingerprint else fresh

    def keep(self, kept: Path) -> None:
        """Whole or not at all, whenever the power goes."""
        beside = kept.with_name(kept.name + ".new")
        with beside.open("w") as file:
            json.dump(asdict(self), file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(kept)


def _fingerprint(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            head = opened.read(65536)
        return sha256(head + str(file.stat().st_size).encode()).hexdigest()
    except OSError as error:
        raise BadInput(f"cannot read {file}: {error.strerror}") from error


class Rejects:
    """The lines that cannot be used, with the reason; made when there is one."""

    def __init__(self, file: Path, *, go_on: bool) -> None:
        self.file = file
        self._go_on = go_on
        self._opened = False

    def add(self, rows: list[Row]) -> None:
        if not rows:
            return
        begin = os.O_APPEND if self._opened or self._go_on else os.O_TRUNC
        self._opened = True
        # Whoever may read the file that is imported is not our business: this one is its owner's.
        descriptor = os.open(self.file, os.O_WRONLY | os.O_CREAT | begin, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            for row in rows:
                line = {"line": row.line, "error": row.error, "content": row.content}
                opened.write(json.dumps(line, ensure_ascii=False) + "\n")


@dataclass(frozen=True, slots=True)
class Batch:
    events: list[bytes]
    rejected: list[Row]
    offset: int
    line: int


def batches(rows: Iterator[Row]) -> Iterator[Batch]:
    events: list[bytes] = []
    rejected: list[Row] = []
    size = 0
    offset = 0
    line = 0
    for row in rows:
        if row.event:
            events.append(row.event)
            size += len(row.event)
        else:
            rejected.append(row)
        offset, line = row.end, row.last
        if len(events) >= BATCH or size >= _BATCH_BYTES or len(rejected) >= BATCH:
            yield Batch(events, rejected, offset, line)
            events, rejected, size = [], [], 0
    if events or rejected:
        yield Batch(events, rejected, offset, line)


class Sender:
    """Posts to `/v1/import`, not faster than `rate` events a second."""

    def __init__(
        self,
        server: str,
        key: str,
        rate: float,
        *,
        start_journeys: bool,
        say: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = server.rstrip("/")
        local = httpx.URL(server).host in ("127.0.0.1", "localhost", "::1")
        self._client = httpx.Client(auth=(key, ""), timeout=30, trust_env=not local)
        self._rate = rate
        self._query = {"start_journeys": "true"} if start_journeys else {}
        self._say = say
        self._sleep = sleep
        self._monotonic = monotonic
        self._next = 0.0

    def close(self) -> None:
        self._client.close()

    def send(self, events: list[bytes]) -> None:
        """Return when they are durable. Raises Unauthorized, Forbidden, BadInput, Unavailable."""
        if not events:
            return
        self._pace(len(events))
        body = b'{"batch":[' + b",".join(events) + b"]}"
        patient_until = self._monotonic() + _PATIENCE
        wait = 0.5
        while True:
            why, wanted = self._try(body)
            if not why:
                return
            if self._monotonic() >= patient_until:
                raise Unavailable(
                    f"gave up after {_PATIENCE:.0f} s: {why}",
                    hint="the same command goes on from here",
                )
            wait = min(_LONGEST_WAIT, max(wanted, wait * 2))
            self._say(f"{why}; trying again in {wait:.0f} s")
            self._sleep(wait)

    def _try(self, body: bytes) -> tuple[str, float]:
        """What stands against it, and how long to wait; nothing once it is done."""
        try:
            answer = self._client.post(
                f"{self._server}/v1/import", content=body, params=self._query
            )
        except httpx.TransportError as error:
            return f"{self._server} does not answer ({type(error).__name__})", 0.0
        except httpx.InvalidURL as error:
            raise ConfigurationError(f"{self._server} is no address: {error}") from error
        if answer.status_code == 200:
            return "", 0.0
        if answer.status_code in (408, 429) or answer.status_code >= 500:
            told = answer.headers.get("retry-after", "")
            return _said(answer), float(told) if told.isdecimal() else 0.0
        if answer.status_code == 401:
            raise Unauthorized(_said(answer), hint="give a secret write key with --key")
        if answer.status_code == 403:
            raise Forbidden(_said(answer), hint="`dangol key create import` makes a secret key")
        raise BadInput(f"{self._server} refuses: {_said(answer)}")

    def _pace(self, events: int) -> None:
        now = self._monotonic()
        if self._next > now:
            self._sleep(self._next - now)
        self._next = max(self._next, now) + events / self._rate


def _said(answer: httpx.Response) -> str:
    try:
        return f"{answer.status_code}, {answer.json()['message']}"
    except (ValueError, KeyError, TypeError):
        return f"it answers {answer.status_code}"
