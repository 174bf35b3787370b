"""What dispatch asks providers for: reports that are not sent, and who has refused advertising."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

SCHEMA = """
-- Messages whose provider tells what became of them only when it is asked.
CREATE TABLE report_polls (
  partition   integer NOT NULL,
  message_id  text NOT NULL,
  channel     text NOT NULL,
  adapter     text NOT NULL,
  provider_id text NOT NULL,
  since       timestamptz NOT NULL,      -- when it was taken, by Dangol's clock
  due_at      timestamptz NOT NULL,      -- when it is asked for next
  tries       integer NOT NULL DEFAULT 0,
  PRIMARY KEY (partition, message_id, channel, adapter)
) WITH (fillfactor = 70);
CREATE INDEX report_polls_due ON report_polls (adapter, due_at);

-- Numbers that refuse advertising, as a provider's 080 list or STOP tells. The number itself stays
-- until its customers have been found; the hash stays, so that each refusal is acted on once.
CREATE TABLE refusals (
  address_hash text PRIMARY KEY,
  phone        text,
  source       text NOT NULL,            -- such as `nhn 080`
  refused_at   timestamptz NOT NULL,
  taken_at     timestamptz NOT NULL
);
CREATE INDEX refusals_open ON refusals (taken_at) WHERE phone IS NOT NULL;

-- How far each provider's list has been read.
CREATE TABLE refusal_syncs (
  provider  text PRIMARY KEY,
  through   timestamptz,                 -- refusals before it are known
  synced_at timestamptz,
  failed_at timestamptz,                 -- null: the last time went well
  why       text
)
"""


def upgrade() -> None:
    for statement in SCHEMA.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("schemas go forward only; restore a backup instead")
