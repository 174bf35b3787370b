"""An import from its first line to its last, or on from where one was killed."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from services.cli.importing.rows import rows_of
from services.cli.importing.sending import Progress, Rejects, Sender, batches
from services.ingest.normalise import Scene
from shared.clock import wall_clock

_SAY_EVERY = 2.0


@dataclass(frozen=True, slots=True)
class Wish:
    file: Path
    names: Mapping[str, str]
    rate: float
    rejects: Path
    start_journeys: bool
    from_the_start: bool
    server: str
    key: str

    @property
    def kept(self) -> Path:
        return self.file.with_name(self.file.name + ".import-state")


def run(wish: Wish, note: Callable[[str], None]) -> Progress:
    """Raises DangolError; what has been taken in until then is not sent again by the next run."""
    if wish.from_the_start:
        wish.kept.unlink(missing_ok=True)
    progress = Progress.of(wish.file, wish.kept)
    if progress.offset:
        note(f"going on behind line {progress.line:,}")
    rejects = Rejects(wish.rejects, go_on=progress.offset > 0)
    sender = Sender(wish.server, wish.key, wish.rate, start_journeys=wish.start_journeys, say=note)
    size = max(wish.file.stat().st_size, 1)
    said, before, began = time.monotonic(), progress.sent, time.monotonic()
    rows = rows_of(
        wish.file,
        wish.names,
        Scene(wall_clock(), "import"),
        offset=progress.offset,
        line=progress.line,
    )
    try:
        for batch in batches(rows):
            sender.send(batch.events)
            rejects.add(batch.rejected)
            progress.offset, progress.line = batch.offset, batch.line
            progress.sent += len(batch.events)
            progress.rejected += len(batch.rejected)
            progress.keep(wish.kept)
            if (now := time.monotonic()) - said >= _SAY_EVERY:
                said = now
                rate = (progress.sent - before) / (now - began)
                note(
                    f"{progress.sent:,} sent, {progress.rejected:,} rejected,"
                    f" {100 * progress.offset / size:.0f} % of the file, {rate:,.0f} a second"
                )
    finally:
        sender.close()
    wish.kept.unlink(missing_ok=True)
    return progress
