"""The engine's metrics: what an operator asks of it."""

from prometheus_client import Counter, Gauge, Histogram

# Events that partitions have taken in; `result` is new, repeated, forwarded or set_aside.
EVENTS = Counter("dangol_journey_events", "Events taken from the log", ["result"])
# How many events one transaction carried.
BATCH_EVENTS = Histogram(
    "dangol_journey_batch_events", "Events per batch", buckets=(1, 10, 50, 100, 250, 500, 1000)
)
# Deciding only, no database.
DECIDE_SECONDS = Histogram("dangol_journey_decide_seconds", "Time to decide one batch")
# From the first statement to the commit's answer.
COMMIT_SECONDS = Histogram("dangol_journey_commit_seconds", "Time to store one batch")
# Seconds between log time and the wall clock when a partition last stored something.
LAG_SECONDS = Gauge("dangol_journey_lag_seconds", "Age of the last event stored", ["partition"])
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
# Partitions this worker owns.
OWNED = Gauge("dangol_journey_partitions_owned", "Partitions owned")
# Times an owner had to drop its cache and start again, by reason.
RESTARTS = Counter("dangol_journey_partition_restarts", "Partitions taken again", ["reason"])
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
