"""The engine's metrics: what an operator asks of it."""

from collections import Counter as Tally
from collections.abc import Iterable, Mapping

from prometheus_client import Counter, Gauge, Histogram

from services.journey.batch import Batch

# Events that partitions have taken in; `result` is new, repeated, forwarded or set_aside.
EVENTS = Counter("dangol_journey_events", "Events taken from the log", ["result"])
# Times a batch met a customer whose state cannot be read (docs/runbook.md).
HELD = Counter("dangol_journey_customers_held", "Customers met whose state cannot be read")
# 1 for each stored version of a journey that this process cannot read.
UNREADABLE = Gauge(
    "dangol_journey_unreadable", "Whether a stored version cannot be read", ["journey", "version"]
)
# How many events one transaction carried.
BATCH_EVENTS = Histogram(
    "dangol_journey_batch_events", "Events per batch", buckets=(1, 10, 50, 100, 250, 500, 1000)
)
# Deciding only, no database.
DECIDE_SECONDS = Histogram("dangol_journey_decide_seconds", "Time to decide one batch")
# From the first statement to the commit's answer.
COMMIT_SECONDS = Histogram("dangol_journey_commit_seconds", "Time to store one batch")
# From an event's receipt to the commit of what was decided on it, once a batch, by its last event.
EVENT_AGE = Histogram(
    "dangol_journey_event_age_seconds",
    "Age of a batch's last event when it was stored",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 3600, 86400),
)
# What the leader sees of every partition, whoever owns it, and whether anybody does (watch.py).
LAG_EVENTS = Gauge("dangol_journey_lag_events", "Events not taken in yet", ["partition"])
LAG_SECONDS = Gauge("dangol_journey_lag_seconds", "For how long it has been behind", ["partition"])
TIMERS_OVERDUE = Gauge(
    "dangol_journey_timers_overdue_seconds", "Age of the oldest timer that is due", ["partition"]
)
# Events that wait to be relayed into the log (counted up to 10,000).
OUTBOX = Gauge("dangol_journey_outbox_events", "Events that wait for the relay")
# Timers fired, and how late against their due time.
TIMERS = Counter("dangol_journey_timers_fired", "Timers fired")
TIMER_LATENESS = Histogram(
    "dangol_journey_timer_lateness_seconds",
    "How late timers fired",
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120, 600),
)
# Runs entered, refused and ended, by journey; refusals carry their reason.
RUNS = Counter("dangol_journey_runs", "Runs entered, refused and ended", ["journey", "what"])
# Messages handed to dispatch.
MESSAGES = Counter("dangol_journey_messages", "Messages handed to dispatch", ["journey", "channel"])
# Customers who have reached their run's goal; `group` is sent or held_out.
CONVERSIONS = Counter("dangol_journey_conversions", "Goals reached", ["journey", "group"])
# The partitions that there are, and those that this worker owns.
PARTITIONS = Gauge("dangol_journey_partitions", "Partitions of the database")
OWNED = Gauge("dangol_journey_partitions_owned", "Partitions owned")
# Times an owner had to drop its cache and start again, by reason.
RESTARTS = Counter("dangol_journey_partition_restarts", "Partitions taken again", ["reason"])
for _reason in ("lost", "unavailable", "unstorable", "workspace"):
    RESTARTS.labels(_reason)
# When this process last did the housekeeping (hourly, one process at a time); 0: not yet.
MAINTAINED = Gauge(
    "dangol_journey_maintenance_timestamp_seconds", "When housekeeping was last done here"
)
# 1 in the process that runs schedules and sweeps for all.
LEADING = Gauge("dangol_journey_leading", "Whether this process leads")
# Sweeps for what time alone changes: real seconds until every customer found had been handed on.
SWEEP_SECONDS = Histogram(
    "dangol_journey_sweep_seconds",
    "Time that a sweep of the segments took",
    buckets=(0.01, 0.1, 0.5, 1, 5, 15, 30, 60, 120, 240),
)
# Customers whom a sweep has sent a look.
SWEEP_CHANGED = Counter("dangol_journey_sweep_changed", "Customers who changed segments by time")
# From the start of the sweep before to the end of the last: nothing was found later than this.
SWEEP_LATENESS = Gauge("dangol_journey_sweep_lateness_seconds", "How late the last sweep found")
# Statements of a sweep that were too much for the database.
SWEEP_FAILURES = Counter("dangol_journey_sweep_failures", "Statements of sweeps that failed")
# Occasions on which a journey started for many at once; `result` is fired, too_old or paused.
FIRINGS = Counter("dangol_journey_firings", "Firings planned", ["journey", "kind", "result"])
# How late the last firing was against the moment for which it was meant.
FIRING_LATE = Gauge("dangol_journey_firing_late_seconds", "Lateness of the last firing")
# Customers whom firings have reached; their rate is the rate of the fan-out.
FANNED_OUT = Counter("dangol_journey_fanned_out", "Customers reached by firings", ["journey"])
# Firings that have not come to everybody yet.
FIRINGS_OPEN = Gauge("dangol_journey_firings_open", "Firings under way")
# Customers to whom a notice that a law asks for is overdue, and for how long it has been to the
# first of them; `notice` as in `met_elsewhere`. From the leader.
NOTICES_OVERDUE = Gauge("dangol_journey_notices_overdue", "Notices overdue", ["notice"])
NOTICES_OVERDUE_SECONDS = Gauge(
    "dangol_journey_notices_overdue_seconds", "For how long a notice has been overdue", ["notice"]
)


def notices_overdue(found: Mapping[str, tuple[int, float]]) -> None:
    """Notice → customers, and seconds; one that is no longer asked for is told no more."""
    for gauge in (NOTICES_OVERDUE, NOTICES_OVERDUE_SECONDS):
        gauge.clear()
    for notice, (customers, seconds) in found.items():
        NOTICES_OVERDUE.labels(notice).set(customers)
        NOTICES_OVERDUE_SECONDS.labels(notice).set(seconds)


def leads(now: bool) -> None:
    """What only the leader knows is told by the next one from then on."""
    LEADING.set(now)
    if now:
        return
    OUTBOX.set(0)
    FIRINGS_OPEN.set(0)
    notices_overdue({})
    for gauge in (LAG_EVENTS, LAG_SECONDS, TIMERS_OVERDUE):
        gauge.clear()


def took(new: int, repeated: int, forwarded: int) -> None:
    """Count what became of a batch's events."""
    EVENTS.labels("new").inc(new)
    EVENTS.labels("repeated").inc(repeated)
    EVENTS.labels("forwarded").inc(forwarded)


def unreadable(versions: Iterable[tuple[str, int]]) -> None:
    UNREADABLE.clear()
    for journey, version in versions:
        UNREADABLE.labels(journey, str(version)).set(1)


def fired(lateness: Iterable[float]) -> None:
    """Timers, each with how late it fired, in seconds."""
    for seconds in lateness:
        TIMERS.inc()
        TIMER_LATENESS.observe(max(0.0, seconds))


def stored(batch: Batch) -> None:
    """Count what a batch has come to, once it is stored."""
    EVENTS.labels("set_aside").inc(len(batch.set_aside))
    for (journey, _version, _step, what), n in batch.counts.items():
        if what != "reached":
            RUNS.labels(journey, what).inc(n)
    for _customer, reached in batch.conversions:
        group = "held_out" if reached.held_out else "sent"
        CONVERSIONS.labels(reached.journey, group).inc()
    made = Tally((message.journey, message.channels[0]) for message in batch.messages)
    for (journey, channel), n in made.items():
        MESSAGES.labels(journey, channel).inc(n)
