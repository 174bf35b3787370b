"""Rules for runs in flight, pauses as spans of log time, whose holdout a conversion fell into."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SCHEMA = """
-- Journey id → {"rule": "migrate" | "end", "version": the one it publishes or null}.
ALTER TABLE workspaces ADD COLUMN in_flight jsonb NOT NULL DEFAULT '{}';

-- Append-only: from when on which status held. An event meets the one of its receipt; `journeys`
-- has the newest, which dispatch obeys at once.
CREATE TABLE journey_changes (
  place   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  journey text NOT NULL,
  status  text NOT NULL CHECK (status IN ('active', 'paused', 'archived')),
  at      timestamptz NOT NULL
);
INSERT INTO journey_changes (journey, status, at)
SELECT id, status, clock_timestamp() FROM journeys WHERE status <> 'active' ORDER BY id;

-- How far the owner has carried out the newest rule for runs in flight.
ALTER TABLE partitions
  ADD COLUMN settled_revision  bigint NOT NULL DEFAULT 0,
  ADD COLUMN settling_revision bigint NOT NULL DEFAULT 0,
  ADD COLUMN settling_after    text NOT NULL DEFAULT '';

ALTER TABLE conversions ADD COLUMN held_by text CHECK (held_by IN ('workspace', 'journey'))
"""


def upgrade() -> None:
    for statement in SCHEMA.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("schemas go forward only; restore a backup instead")
