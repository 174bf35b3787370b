"""The tables, as SQLAlchemy Core sees them: for queries that people read.

The migrations are the schema's source (keys, checks and indexes stand there with their reasons);
a test holds the two to each other. The hot paths write through asyncpg.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    Identity,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData()
Instant = DateTime(timezone=True)

log_heads = Table(
    "log_heads",
    metadata,
    Column("partition", Integer, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
    Column("last_at", Instant, nullable=False),
)

log = Table(
    "log",
    metadata,
    Column("partition", Integer, primary_key=True),
    Column("log_offset", BigInteger, primary_key=True),
    Column("received_at", Instant, nullable=False),
    Column("payload", LargeBinary, nullable=False),
)

log_outbox = Table(
    "log_outbox",
    metadata,
    Column("partition", Integer, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("payload", LargeBinary, nullable=False),
    Column("place", BigInteger, Identity(always=True), nullable=False),
)

workers = Table(
    "workers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("seen_at", Instant, nullable=False),
)

partitions = Table(
    "partitions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("owner", Text),
    Column("epoch", BigInteger, nullable=False),
    Column("log_offset", BigInteger, nullable=False),
    Column("log_time", Instant, nullable=False),
    Column("settled_revision", BigInteger, nullable=False),
    Column("settling_revision", BigInteger, nullable=False),
    Column("settling_after", Text, nullable=False),
)

customers = Table(
    "customers",
    metadata,
    Column("partition", Integer, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("traits", JSONB, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("rfm", JSONB),
    Column("members", JSONB, nullable=False),
    Column("forwarded_to", Text),
)

history = Table(
    "history",
    metadata,
    Column("partition", Integer, nullable=False),
    Column("customer", Text, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("happened_at", Instant, nullable=False),
    Column("event", JSONB, nullable=False),
)

timers = Table(
    "timers",
    metadata,
    Column("partition", Integer, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("customer", Text, nullable=False),
)

spilled_ids = Table(
    "spilled_ids",
    metadata,
    Column("partition", Integer, primary_key=True),
    Column("customer", Text, primary_key=True),
    Column("digest", BigInteger, primary_key=True),
    Column("second", BigInteger, nullable=False),
)

conversions = Table(
    "conversions",
    metadata,
    Column("partition", Integer, primary_key=True),
    Column("run_id", Text, primary_key=True),
    Column("customer", Text, nullable=False),
    Column("journey", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("held_out", Boolean, nullable=False),
    Column("variants", JSONB, nullable=False),
    Column("entered_at", Instant, nullable=False),
    Column("at", Instant, nullable=False),
    Column("value", Double),
    Column("held_by", Text),
)

counts = Table(
    "counts",
    metadata,
    Column("partition", Integer, primary_key=True),
    Column("journey", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("step", Text, primary_key=True),
    Column("what", Text, primary_key=True),
    Column("n", BigInteger, nullable=False),
)

messages = Table(
    "messages",
    metadata,
    Column("partition", Integer, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("customer", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("journey", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("step", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("held_out", Boolean, nullable=False),
    Column("channels", ARRAY(Text), nullable=False),
    Column("template", Text, nullable=False),
    Column("context", LargeBinary, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("decidable_at", Instant, nullable=False),
    Column("not_before", Instant, nullable=False),
    Column("status", Text, nullable=False),
    Column("claimed_by", Text),
    Column("claim_until", Instant),
    Column("attempts", Integer, nullable=False),
    Column("passed_over", JSONB, nullable=False),
    Column("held_reason", Text),
    Column("channel", Text),
    Column("decision", Text),
    Column("reason", Text),
    Column("decided_at", Instant),
    Column("provider_id", Text),
    Column("erased", Boolean),
    Column("waits_for", Text),
    Column("receipts_to", Text),
    Column("detail", Text),
)

attempts = Table(
    "attempts",
    metadata,
    Column("partition", Integer, primary_key=True),
    Column("message_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("adapter", Text, nullable=False),
    Column("dispatcher", Text, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Column("outcome", Text),
    Column("provider_id", Text),
    Column("detail", Text),
)

send_rates = Table(
    "send_rates",
    metadata,
    Column("line", Text, primary_key=True),
    Column("rate", Double, nullable=False),
    Column("next_at", Instant, nullable=False),
)

send_calls = Table(
    "send_calls",
    metadata,
    Column("line", Text, primary_key=True),
    Column("dispatcher", Text, primary_key=True),
    Column("calls", Integer, nullable=False),
    Column("said_until", Instant, nullable=False),
)

channel_pauses = Table(
    "channel_pauses",
    metadata,
    Column("dispatcher", Text, primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("adapter", Text, primary_key=True),
    Column("since", Instant, nullable=False),
    Column("until", Instant, nullable=False),
    Column("times", Integer, nullable=False),
    Column("why", Text, nullable=False),
    Column("said_until", Instant, nullable=False),
)

calls = Table(
    "calls",
    metadata,
    Column("partition", Integer, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("customer", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("journey", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("step", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("timeout", Interval, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("not_before", Instant, nullable=False),
    Column("status", Text, nullable=False),
    Column("claimed_by", Text),
    Column("claim_until", Instant),
    Column("attempts", Integer, nullable=False),
    Column("outcome", Text),
    Column("reason", Text),
    Column("detail", Text),
    Column("decided_at", Instant),
    Column("receipt", Boolean),
)

report_polls = Table(
    "report_polls",
    metadata,
    Column("partition", Integer, primary_key=True),
    Column("message_id", Text, primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("adapter", Text, primary_key=True),
    Column("provider_id", Text, nullable=False),
    Column("since", Instant, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("tries", Integer, nullable=False),
)

report_stamps = Table(
    "report_stamps",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("stamp", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("seen_at", Instant, nullable=False),
)

refusals = Table(
    "refusals",
    metadata,
    Column("address_hash", Text, primary_key=True),
    Column("phone", Text),
    Column("source", Text, nullable=False),
    Column("refused_at", Instant, nullable=False),
    Column("taken_at", Instant, nullable=False),
)

refusal_syncs = Table(
    "refusal_syncs",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("through", Instant),
    Column("synced_at", Instant),
    Column("failed_at", Instant),
    Column("why", Text),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("key", Text, primary_key=True),
    Column("message_id", Text, nullable=False),
    Column("digest", Text),
    Column("made_at", Instant, nullable=False),
)

cap_places = Table(
    "cap_places",
    metadata,
    Column("partition", Integer, primary_key=True),
    Column("customer", Text, primary_key=True),
    Column("message_id", Text, primary_key=True),
    Column("taken_at", Instant, nullable=False),
    Column("category", Text, nullable=False),
    Column("channel", Text, nullable=False),
)

consents = Table(
    "consents",
    metadata,
    Column("partition", Integer, primary_key=True),
    Column("customer", Text, primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("granted", Boolean, nullable=False),
    Column("stated_at", Instant, nullable=False),
)

consent_ledger = Table(
    "consent_ledger",
    metadata,
    Column("partition", Integer, primary_key=True),
    Column("customer", Text, primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("granted", Boolean, nullable=False),
    Column("stated_at", Instant, nullable=False),
    Column("source", Text, nullable=False),
    Column("wording", Text),
    Column("recorded_at", Instant, nullable=False),
    Column("event_id", Text, primary_key=True),
    Column("imported", Boolean),
)

suppressions = Table(
    "suppressions",
    metadata,
    Column("address_hash", Text, primary_key=True),
    Column("scope", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("at", Instant, nullable=False),
)

firings = Table(
    "firings",
    metadata,
    Column("id", Text, primary_key=True),
    Column("journey", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("since", Instant, nullable=False),
    Column("at", Instant, nullable=False),
    Column("fired_at", Instant, nullable=False),
    Column("missed", Integer, nullable=False),
    Column("trigger", JSONB, nullable=False),
    Column("zones", ARRAY(Text)),
    Column("rest", Boolean, nullable=False),
    Column("done_at", Instant),
    Column("skipped", Text),
)

firing_cursors = Table(
    "firing_cursors",
    metadata,
    Column("partition", Integer, primary_key=True),
    Column("firing", Text, primary_key=True),
    Column("after", Text, nullable=False),
    Column("put", BigInteger, nullable=False),
    Column("done", Boolean, nullable=False),
)

firing_marks = Table(
    "firing_marks",
    metadata,
    Column("journey", Text, primary_key=True),
    Column("considered", Instant, nullable=False),
)

workspaces = Table(
    "workspaces",
    metadata,
    Column("revision", BigInteger, primary_key=True),
    Column("hash", Text, nullable=False),
    Column("files", LargeBinary, nullable=False),
    Column("settings", JSONB, nullable=False),
    Column("journeys", JSONB, nullable=False),
    Column("active_from", Instant, nullable=False),
    Column("applied_by", Text, nullable=False),
    Column("segments", JSONB, nullable=False),
    Column("in_flight", JSONB, nullable=False),
    Column("tracking", JSONB),
)

journey_versions = Table(
    "journey_versions",
    metadata,
    Column("journey", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("hash", Text, nullable=False),
    Column("file", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
)

journeys = Table(
    "journeys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("status", Text, nullable=False),
)

journey_changes = Table(
    "journey_changes",
    metadata,
    Column("place", BigInteger, Identity(always=True), primary_key=True),
    Column("journey", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("at", Instant, nullable=False),
)

erasures = Table(
    "erasures",
    metadata,
    Column("id", Text, primary_key=True),
    Column("customer", Text),
    Column("customer_hash", Text, nullable=False),
    Column("requested_at", Instant, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("erased_at", Instant),
    Column("complete_at", Instant, nullable=False),
    Column("linked_hashes", ARRAY(Text), nullable=False),
)

erased_parts = Table(
    "erased_parts",
    metadata,
    Column("partition", Integer, primary_key=True),
    Column("request", Text, primary_key=True),
    Column("customer_hash", Text, primary_key=True),
    Column("erased_at", Instant, nullable=False),
    Column("rows", JSONB, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("revoked_at", Instant),
    Column("kind", Text, nullable=False),
    Column("rate", Double),
    Column("daily", BigInteger),
)

key_usage = Table(
    "key_usage",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("events", BigInteger, nullable=False),
)

set_aside = Table(
    "set_aside",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("source", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("scene", JSONB),
    Column("replayed_at", Instant),
    Column("replayed_by", Text),
)

plan_violations = Table(
    "plan_violations",
    metadata,
    Column("source", Text, primary_key=True),
    Column("event", Text, primary_key=True),
    Column("property", Text, primary_key=True),
    Column("violation", Text, primary_key=True),
    Column("n", BigInteger, nullable=False),
    Column("first_at", Instant, nullable=False),
    Column("last_at", Instant, nullable=False),
)

sent_mail = Table(
    "sent_mail",
    metadata,
    Column("domain", Text, primary_key=True),
    Column("since", Instant, primary_key=True),
    Column("mails", BigInteger, nullable=False),
)

complaints = Table(
    "complaints",
    metadata,
    Column("partition", Integer, primary_key=True),
    Column("message_id", Text, primary_key=True),
    Column("domain", Text, nullable=False),
    Column("sent_at", Instant, nullable=False),
    Column("told_at", Instant, nullable=False),
)

mail_pauses = Table(
    "mail_pauses",
    metadata,
    Column("domain", Text, primary_key=True),
    Column("since", Instant, nullable=False),
    Column("until", Instant, nullable=False),
    Column("mails", BigInteger, nullable=False),
    Column("complaints", BigInteger, nullable=False),
    Column("ended_by", Text),
)

meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", JSONB, nullable=False),
)
