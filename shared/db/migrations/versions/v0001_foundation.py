"""The foundation: log, ownership, customers, messages, consent, workspaces, keys."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = """
CREATE TABLE meta (
  key   text PRIMARY KEY,
  value jsonb NOT NULL
);

-- The Postgres log ----------------------------------------------------------------------
-- One row per partition: taking its lock is what makes offsets gap-free and stamps non-decreasing.
CREATE TABLE log_heads (
  partition   integer PRIMARY KEY,
  next_offset bigint NOT NULL DEFAULT 1,
  last_at     timestamptz NOT NULL DEFAULT '1970-01-01 00:00:00+00'
) WITH (fillfactor = 20);

CREATE TABLE log (
  partition   integer NOT NULL,
  log_offset  bigint NOT NULL,
  received_at timestamptz NOT NULL,
  payload     bytea NOT NULL,
  PRIMARY KEY (partition, log_offset)
);

-- What services append is first a row here, in the transaction that decided it.
CREATE TABLE log_outbox (
  partition integer NOT NULL,
  id        text NOT NULL,
  payload   bytea NOT NULL,
  place     bigint GENERATED ALWAYS AS IDENTITY,   -- relayed in the order in which it was put
  PRIMARY KEY (partition, id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE INDEX log_outbox_order ON log_outbox (place);

-- Ownership -----------------------------------------------------------------------------
CREATE TABLE workers (
  id      text PRIMARY KEY,
  role    text NOT NULL,
  seen_at timestamptz NOT NULL
);

-- The fence: every batch ends with UPDATE … WHERE id = $p AND epoch = $mine.
CREATE TABLE partitions (
  id         integer PRIMARY KEY,
  owner      text,
  epoch      bigint NOT NULL DEFAULT 0,
  log_offset bigint NOT NULL DEFAULT 0,
  log_time   timestamptz NOT NULL DEFAULT '1970-01-01 00:00:00+00'
) WITH (fillfactor = 20);

-- Customers -----------------------------------------------------------------------------
CREATE TABLE customers (
  partition integer NOT NULL,
  id        text NOT NULL,
  traits    jsonb NOT NULL DEFAULT '{}',
  state     bytea NOT NULL,
  PRIMARY KEY (partition, id)
) WITH (fillfactor = 80);

CREATE TABLE history (
  partition   integer NOT NULL,
  customer    text NOT NULL,
  received_at timestamptz NOT NULL,
  id          text NOT NULL,
  kind        text NOT NULL,
  name        text NOT NULL,
  happened_at timestamptz NOT NULL,
  event       jsonb NOT NULL
) PARTITION BY RANGE (received_at);
CREATE INDEX history_by_customer ON history (partition, customer, received_at);
CREATE TABLE history_rest PARTITION OF history DEFAULT;

-- At most a few rows per customer: the earliest due time, and stale earlier ones that do no harm.
CREATE TABLE timers (
  partition integer NOT NULL,
  due_at    timestamptz NOT NULL,
  customer  text NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
CREATE INDEX timers_due ON timers (partition, due_at);

-- Message ids that left the rows of customers with very many of them; kept for 7 days.
CREATE TABLE spilled_ids (
  partition integer NOT NULL,
  customer  text NOT NULL,
  digest    bigint NOT NULL,
  second    bigint NOT NULL,
  PRIMARY KEY (partition, customer, digest)
);

-- A goal that was reached: one row a run, whatever is redone.
CREATE TABLE conversions (
  partition  integer NOT NULL,
  run_id     text NOT NULL,
  customer   text NOT NULL,
  journey    text NOT NULL,
  version    integer NOT NULL,
  held_out   boolean NOT NULL,
  variants   jsonb NOT NULL,
  entered_at timestamptz NOT NULL,
  at         timestamptz NOT NULL,
  value      double precision,
  PRIMARY KEY (partition, run_id)
);
CREATE INDEX conversions_by_journey ON conversions (journey, at);

CREATE TABLE counts (
  partition integer NOT NULL,
  journey   text NOT NULL,
  version   integer NOT NULL,
  step      text NOT NULL DEFAULT '',
  what      text NOT NULL,
  n         bigint NOT NULL,
  PRIMARY KEY (partition, journey, version, step, what)
) WITH (fillfactor = 50);

-- Messages: the engine's outbox and dispatch's queue ------------------------------------
CREATE TABLE messages (
  partition    integer NOT NULL,
  id           text NOT NULL,
  customer     text NOT NULL,
  run_id       text NOT NULL,
  journey      text NOT NULL,
  version      integer NOT NULL,
  step         text NOT NULL,
  category     text NOT NULL CHECK (category IN ('marketing', 'transactional')),
  priority     integer NOT NULL,
  held_out     boolean NOT NULL DEFAULT false,
  channels     text[] NOT NULL CHECK (cardinality(channels) > 0),
  template     text NOT NULL,
  context      bytea NOT NULL,          -- msgpack: what its template may read besides the profile
  created_at   timestamptz NOT NULL,
  decidable_at timestamptz NOT NULL,    -- orders a customer's messages; caps count it
  not_before   timestamptz NOT NULL,    -- claimed no earlier: end of a hold, next retry
  status       text NOT NULL CHECK (status IN
               ('staged',       -- made while the partition was behind; not offered yet
                'queued',       -- offered
                'attempting',   -- the provider may have been called: past recall
                'decided')),
  claimed_by   text,
  claim_until  timestamptz,             -- by the database's own clock
  attempts     integer NOT NULL DEFAULT 0,
  passed_over  jsonb NOT NULL DEFAULT '[]',
  held_reason  text,
  channel      text,
  decision     text CHECK (decision IN ('sent', 'dropped', 'failed', 'unknown')),
  reason       text,
  decided_at   timestamptz,
  provider_id  text,
  PRIMARY KEY (partition, id),
  CHECK ((status = 'decided') = (decision IS NOT NULL)),
  CHECK ((status = 'decided') = (decided_at IS NOT NULL)),
  CHECK ((status = 'attempting') = (claimed_by IS NOT NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
CREATE INDEX messages_due ON messages (not_before) WHERE status = 'queued';
CREATE INDEX messages_leased ON messages (claim_until) WHERE status = 'attempting';
CREATE INDEX messages_staged ON messages (partition) WHERE status = 'staged';
CREATE INDEX messages_open ON messages (partition, customer) WHERE status <> 'decided';
CREATE INDEX messages_by_customer ON messages (partition, customer, created_at);
CREATE INDEX messages_by_journey ON messages (journey, created_at);
CREATE INDEX messages_gone_wrong ON messages (created_at)
  WHERE decision IN ('failed', 'unknown');

-- One row per provider call, committed before the call.
CREATE TABLE attempts (
  partition   integer NOT NULL,
  message_id  text NOT NULL,
  number      integer NOT NULL,
  channel     text NOT NULL,
  adapter     text NOT NULL,
  dispatcher  text NOT NULL,
  started_at  timestamptz NOT NULL,
  finished_at timestamptz,
  outcome     text,
  provider_id text,
  detail      text,
  PRIMARY KEY (partition, message_id, number)
);

-- A place under the caps: taken in the attempt's transaction, given back on a final failure.
CREATE TABLE cap_places (
  partition  integer NOT NULL,
  customer   text NOT NULL,
  message_id text NOT NULL,
  taken_at   timestamptz NOT NULL,
  category   text NOT NULL,
  channel    text NOT NULL,
  PRIMARY KEY (partition, customer, message_id)
);

-- Consent and suppression ---------------------------------------------------------------
CREATE TABLE consents (
  partition integer NOT NULL,
  customer  text NOT NULL,
  channel   text NOT NULL,               -- a channel, or 'night'
  granted   boolean NOT NULL,
  stated_at timestamptz NOT NULL,
  PRIMARY KEY (partition, customer, channel)
);

-- Append-only: every statement, also those that an older one did not change.
CREATE TABLE consent_ledger (
  partition   integer NOT NULL,
  customer    text NOT NULL,
  channel     text NOT NULL,
  granted     boolean NOT NULL,
  stated_at   timestamptz NOT NULL,
  source      text NOT NULL,
  wording     text,
  recorded_at timestamptz NOT NULL,
  event_id    text NOT NULL,
  PRIMARY KEY (partition, customer, channel, event_id)
);

CREATE TABLE suppressions (
  address_hash text NOT NULL,
  scope        text NOT NULL CHECK (scope IN ('all', 'marketing')),
  reason       text NOT NULL,
  at           timestamptz NOT NULL,
  PRIMARY KEY (address_hash, scope)
);

-- The workspace -------------------------------------------------------------------------
CREATE TABLE workspaces (
  revision    bigint PRIMARY KEY,
  hash        text NOT NULL,
  files       bytea NOT NULL,             -- the folder as it was applied, zipped
  settings    jsonb NOT NULL,             -- its dangol.yaml, checked
  journeys    jsonb NOT NULL,             -- journey id → version that this revision starts
  active_from timestamptz NOT NULL UNIQUE,
  applied_by  text NOT NULL
);

CREATE TABLE journey_versions (
  journey    text NOT NULL,
  version    integer NOT NULL CHECK (version > 0),
  hash       text NOT NULL,
  file       text NOT NULL,
  source     text NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (journey, version),
  UNIQUE (journey, hash)
);

CREATE TABLE journeys (
  id     text PRIMARY KEY,
  status text NOT NULL CHECK (status IN ('active', 'paused', 'archived'))
);

-- Keys: only a hash of the random key is kept. ------------------------------------------
CREATE TABLE keys (
  id         text PRIMARY KEY,
  name       text NOT NULL,
  role       text NOT NULL CHECK (role IN ('write', 'viewer', 'marketer', 'operator', 'admin')),
  hash       text NOT NULL UNIQUE,
  created_at timestamptz NOT NULL,
  revoked_at timestamptz
);

-- Events and log records that could not be used, with the reason.
CREATE TABLE set_aside (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at          timestamptz NOT NULL,
  source      text NOT NULL,
  reason      text NOT NULL,
  payload     bytea NOT NULL
);
"""


def upgrade() -> None:
    for statement in SCHEMA.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("schemas go forward only; restore a backup instead")
