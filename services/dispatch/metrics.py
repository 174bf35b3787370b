"""Dispatch's metrics: what an operator asks of it."""

from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

from services.dispatch.pending import Change
from shared.channels import CHANNELS
from shared.mail_complaints import Standing

# Messages decided; `reason` is empty for those that were sent, `channel` the one they ended on.
DECISIONS = Counter(
    "dangol_dispatch_decisions", "Messages decided", ["channel", "decision", "reason"]
)
# The same by journey, for those who write them: no channel or reason, which would multiply.
JOURNEY_DECISIONS = Counter(
    "dangol_dispatch_journey_decisions", "Messages decided by journey", ["journey", "decision"]
)
# Times a message was held, by the channel it waits for and the reason.
HELD = Counter("dangol_dispatch_holds", "Messages held", ["channel", "reason"])
# From the call of the provider to its answer.
CALL_SECONDS = Histogram(
    "dangol_dispatch_call_seconds",
    "Time of one provider call",
    ["adapter", "outcome"],
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
# From the instant a message became decidable to its sending, in seconds of Dangol's clock.
LATENESS_SECONDS = Histogram(
    "dangol_dispatch_lateness_seconds",
    "Age of a message at its first attempt since it became decidable",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 3600),
)
# Messages that may have been sent, also counted as decisions; alert on any.
UNKNOWN = Counter("dangol_dispatch_unknown", "Attempts without a known outcome", ["adapter"])
# Provider calls recorded and not yet answered: at most the stated concurrency.
UNDER_WAY = Gauge("dangol_dispatch_calls_under_way", "Provider calls under way")
# The same by connection, until the provider has answered: together at most its `concurrency`.
CONNECTION_CALLS = Gauge(
    "dangol_dispatch_connection_calls", "Calls under way by connection", ["channel", "adapter"]
)
# 1 while a channel's connection is broken and its messages wait.
PAUSED = Gauge("dangol_dispatch_channel_paused", "Channel paused", ["channel"])
# Messages that may be claimed now (counted up to 10,000 of a category), and how long the first has
# waited, by the channel that they would go by. Every dispatcher tells the same: take the maximum.
DUE = Gauge("dangol_dispatch_due_messages", "Messages due", ["channel"])
DUE_SECONDS = Gauge(
    "dangol_dispatch_due_age_seconds", "Age of the message that is due longest", ["channel"]
)
# Messages that wait for a place under a limit (counted up to 10,000); `line` as in
# `connections.py`: a channel, `email:` and a domain, `sms:concurrency/` and an adapter.
RATE_WAITING = Gauge("dangol_dispatch_rate_waiting", "Messages that wait for a limit", ["line"])
# Attempts whose lease ran out, settled for a dispatcher that is gone.
SETTLED = Counter("dangol_dispatch_settled", "Attempts of lost dispatchers settled")
# Tries of `call` steps, and of receipts to the API's callers, by what they came to; `again` for
# those that are made once more.
CALLS = Counter("dangol_dispatch_step_calls", "Tries of call steps", ["outcome", "reason"])
# Calls that may be made now (counted up to 10,000), and how long the first has waited.
CALLS_DUE = Gauge("dangol_dispatch_step_calls_due", "Calls of call steps due")
CALLS_DUE_SECONDS = Gauge(
    "dangol_dispatch_step_calls_due_age_seconds", "Age of the call that is due longest"
)
# From the request to the whole answer.
CALL_TRY_SECONDS = Histogram(
    "dangol_dispatch_step_call_seconds",
    "Time of one try of a call step",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20),
)
# What the live sources of templates said of their claims: true, false, or unknown where one failed.
LIVE_ANSWERS = Counter("dangol_dispatch_live_answers", "Answers of live sources", ["said"])
LIVE_SECONDS = Histogram(
    "dangol_dispatch_live_seconds",
    "Time of one try to ask a live source",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
# What customers said at the preference page or by one-click unsubscribing.
DOORS = Counter("dangol_dispatch_statements", "Statements of consent at the doors", ["source"])
# Mails to the bounce domain by what they told; `ignored`: delays, answers of people away, rubbish.
NOTICES = Counter("dangol_dispatch_bounce_mails", "Mails to the bounce domain", ["outcome"])
# Clicks and openings; those of machines (scanners, privacy proxies) are counted and not believed.
RECEIPTS = Counter("dangol_dispatch_receipts", "Receipts", ["channel", "outcome", "by"])
# 1 in the process that asks providers for reports and refusals, for all.
LEADING = Gauge("dangol_dispatch_leading", "Whether this process leads")
# Reports that were asked for: `told`, `not yet`, `given up`, or `failed` where the provider did.
POLLS = Counter("dangol_dispatch_report_polls", "Reports asked for", ["adapter", "outcome"])
# Numbers that providers' lists and STOP name as refusing advertising; each counts once.
REFUSALS = Counter("dangol_dispatch_refusals", "Numbers that refuse advertising", ["source"])
# Unix time at which a provider's 080 list was last read to its end; alert where it grows old.
REFUSALS_SYNCED = Gauge(
    "dangol_dispatch_refusals_synced_seconds", "When refusals were last read", ["provider"]
)
# The higher of the last two days' shares of advertising mail that people complained about, by the
# sender's domain; the complaints of that day; and 1 while such mail waits for it. From the leader.
COMPLAINT_RATE = Gauge(
    "dangol_dispatch_complaint_rate", "Share of mail complained about", ["domain"]
)
COMPLAINTS = Gauge("dangol_dispatch_complaints", "Complaints about a day's mail", ["domain"])
MAIL_STOPPED = Gauge("dangol_dispatch_mail_stopped", "Advertising mail waits", ["domain"])


def mail_domains(found: Iterable[Standing]) -> None:
    """What the leader sees of the sending domains; those that send no more are forgotten."""
    for gauge in (COMPLAINT_RATE, COMPLAINTS, MAIL_STOPPED):
        gauge.clear()
    for each in found:
        COMPLAINT_RATE.labels(each.domain).set(each.rate.share)
        COMPLAINTS.labels(each.domain).set(each.rate.complaints)
        MAIL_STOPPED.labels(each.domain).set(each.pause is not None)


def leads(now: bool) -> None:
    """What only the leader knows is told by the next one from then on."""
    LEADING.set(now)
    if not now:
        mail_domains(())


def decided(changes: Iterable[Change]) -> None:
    """Count what has become of messages; call it when the transaction that decided has ended."""
    for change in changes:
        if change.decision is not None:
            DECISIONS.labels(change.channel or "", change.decision, change.reason or "").inc()
            JOURNEY_DECISIONS.labels(change.journey, change.decision).inc()


def due(depths: Iterable[tuple[str, int, float]]) -> None:
    """Channel, how many messages are due, and the age of the first of them in seconds."""
    found = {channel: (count, age) for channel, count, age in depths}
    for channel in found.keys() | CHANNELS.keys():
        count, age = found.get(channel, (0, 0.0))
        DUE.labels(channel).set(count)
        DUE_SECONDS.labels(channel).set(age)
