"""What a mail to the bounce domain changes. It is kept before whoever brought it may forget it."""

import asyncio
from collections.abc import Sequence

from services.dispatch import metrics, store
from services.dispatch.receipts.bounces.notices import Notice, read_notice
from services.dispatch.receipts.bounces.verp import (
    COMPLAINTS,
    Reference,
    ReturnPaths,
    make_return_paths,
)
from services.dispatch.receipts.report import Report
from services.dispatch.receipts.store import Receipts
from shared.clock import Clock
from shared.db.connect import Pool


class Mailroom:
    def __init__(self, pool: Pool, clock: Clock, partitions: int, domain: str) -> None:
        self._pool = pool
        self._clock = clock
        self._receipts = Receipts(pool, partitions)
        self._domain = domain
        self._paths: ReturnPaths | None = None

    async def paths(self) -> ReturnPaths:
        """Raises Unavailable."""
        if self._paths is None:
            key = await store.address_key(self._pool)
            self._paths = make_return_paths(self._domain, key)
        return self._paths

    async def take(self, raw: bytes, recipients: Sequence[str] = ()) -> bool:
        """Whether it told something of a mail of ours; taking it again changes nothing.

        `recipients`: of the envelope, where it is known. Raises Unavailable: it is to come again.
        """
        paths = await self.paths()
        notice = await asyncio.to_thread(read_notice, raw)
        report = _report(notice, recipients, paths)
        if report is None:
            metrics.NOTICES.labels("ignored").inc()
            return False
        await self._receipts.keep([report], self._clock.now())
        metrics.NOTICES.labels(report.outcome).inc()
        return True


def _report(notice: Notice, recipients: Sequence[str], paths: ReturnPaths) -> Report | None:
    named = [found for each in recipients if (found := paths.find(each)) is not None]
    reference: Reference | None = named[0] if named else paths.find(notice.text)
    if reference is None:
        return None
    kind = notice.kind
    if kind == "other" and notice.returns_mail and _is_for_complaints(recipients):
        kind = "complained"  # as some providers send them: the mail, and no report of its own
    if kind == "complained":
        return Report(
            reference.message_id, kind, closes="marketing", address_hash=reference.address_hash
        )
    if kind == "bounced":
        return Report(
            reference.message_id,
            kind,
            closes="all" if notice.hard else None,
            address_hash=reference.address_hash,
            detail=notice.detail,
        )
    return None


def _is_for_complaints(recipients: Sequence[str]) -> bool:
    return any(each.lower().startswith(f"{COMPLAINTS}@") for each in recipients)
