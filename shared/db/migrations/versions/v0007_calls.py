"""Calls: the requests that `call` steps make, and what became of them."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SCHEMA = """
-- Like messages, an outbox and a queue in one. A try is recorded (status, claim, number) and
-- committed before the request leaves; since every try bears the same webhook-id, one without an
-- outcome is made again.
CREATE TABLE calls (
  partition   integer NOT NULL,
  id          text NOT NULL,
  customer    text NOT NULL,
  run_id      text NOT NULL,
  journey     text NOT NULL,
  version     integer NOT NULL,
  step        text NOT NULL,
  url         text NOT NULL,
  host        text NOT NULL,                -- by what the calls under way are counted
  body        bytea NOT NULL,               -- the same on every try; emptied once it is decided
  timeout     interval NOT NULL,            -- real time that one try may take
  created_at  timestamptz NOT NULL,
  not_before  timestamptz NOT NULL,         -- the next try
  status      text NOT NULL CHECK (status IN ('staged', 'queued', 'attempting', 'decided')),
  claimed_by  text,
  claim_until timestamptz,                  -- by the database's own clock
  attempts    integer NOT NULL DEFAULT 0,
  outcome     text CHECK (outcome IN ('sent', 'dropped', 'failed')),
  reason      text,
  detail      text,                         -- what the last try came to
  decided_at  timestamptz,
  PRIMARY KEY (partition, id),
  CHECK ((status = 'decided') = (outcome IS NOT NULL)),
  CHECK ((status = 'decided') = (decided_at IS NOT NULL)),
  CHECK ((status = 'attempting') = (claimed_by IS NOT NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
CREATE INDEX calls_due ON calls (not_before) WHERE status = 'queued';
CREATE INDEX calls_leased ON calls (claim_until) WHERE status = 'attempting';
CREATE INDEX calls_staged ON calls (partition) WHERE status = 'staged';
CREATE INDEX calls_by_customer ON calls (partition, customer, created_at);
CREATE INDEX calls_decided ON calls (decided_at) WHERE status = 'decided';
"""


def upgrade() -> None:
    for statement in SCHEMA.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("schemas go forward only; restore a backup instead")
