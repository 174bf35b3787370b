"""What one process does for all, of each service that has a leader; register jobs here."""

from collections.abc import Mapping

from services.cli.foundation import Foundation
from services.dispatch import metrics as dispatch_metrics
from services.dispatch.complaints import Breaker
from services.dispatch.receipts.texts import polls, refusals
from services.dispatch.receipts.texts.store import Reports
from services.journey import metrics as journey_metrics
from services.journey.firings.fanout import Fanout
from services.journey.firings.planner import Planner
from services.journey.notices import NoticeWatch
from services.journey.partition import Engine
from services.journey.sweeps import Sweeps
from services.journey.watch import Watch
from shared.leader import DISPATCH, JOURNEY, Leader
from shared.rfm_scoring import Nightly


def of_journey(found: Foundation, engine: Engine) -> Leader:
    leader = Leader(found.dsn, JOURNEY, journey_metrics.leads)
    sweeps = Sweeps(
        found.pool, engine.library, engine.store, found.log, found.clock, found.partitions
    )
    leader.every(sweeps.every, "sweep", sweeps.run)
    leader.every(Watch.EVERY, "watch", Watch(found.pool, found.log, found.clock).turn)
    leader.every(NoticeWatch.EVERY, "notices", NoticeWatch(found.pool, found.clock).turn)
    nightly = Nightly(found.pool, found.clock, found.partitions)
    leader.every(nightly.every, "rfm", nightly.run)
    planner = Planner(found.pool, engine.library, found.clock)
    leader.every(Planner.EVERY, "firings", planner.turn)
    fanout = Fanout(found.pool, engine.library, found.log, found.clock, found.partitions)
    leader.every(Fanout.EVERY, "fan-out", fanout.turn)
    return leader


def of_dispatch(found: Foundation, environment: Mapping[str, str]) -> Leader:
    """What one dispatcher asks providers for, and looks after, for all."""
    leader = Leader(found.dsn, DISPATCH, dispatch_metrics.leads)
    reports = Reports(found.pool, found.partitions)
    asked = polls.Polls(found.pool, found.clock, reports, polls.sources_of(environment))
    leader.every(polls.EVERY, "reports", asked.turn)
    sync = refusals.RefusalSync(found.pool, found.clock, found.partitions, environment)
    leader.every(refusals.EVERY, "refusals", sync.turn)
    leader.every(Breaker.EVERY, "complaints", Breaker(found.pool, found.clock).turn)
    return leader
