"""Firings: journeys that start for many customers at once, and how far each has come."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

SCHEMA = """
-- One occasion on which a version of a journey fires. The id derives from journey, label and
-- moment, so that whoever plans an occasion again makes no second one.
CREATE TABLE firings (
  id       text PRIMARY KEY,
  journey  text NOT NULL,
  version  integer NOT NULL,
  kind     text NOT NULL CHECK (kind IN ('schedule', 'date', 'audience')),
  label    text NOT NULL,             -- local moment, calendar day, catalogue event's id
  since    timestamptz NOT NULL,      -- only moments later than this and not later than `at` count
  at       timestamptz NOT NULL,      -- when it was meant
  fired_at timestamptz NOT NULL,      -- when it came to be
  missed   integer NOT NULL DEFAULT 0, -- earlier occasions that this one stands for as well
  trigger  jsonb NOT NULL,
  zones    text[],                    -- NULL: whatever the customer's zone is
  rest     boolean NOT NULL DEFAULT false, -- customers of no known zone, too
  done_at  timestamptz,
  skipped  text CHECK (skipped IN ('too_old', 'paused', 'withdrawn')),
  CHECK (skipped IS NULL OR done_at IS NOT NULL)
);
CREATE INDEX firings_open ON firings (fired_at, id) WHERE done_at IS NULL;
CREATE INDEX firings_by_journey ON firings (journey, at);

-- A partition's place in a firing: moved in the transaction that puts the events of a chunk.
CREATE TABLE firing_cursors (
  partition integer NOT NULL,
  firing    text NOT NULL,
  after     text NOT NULL DEFAULT '',  -- the last customer looked at
  put       bigint NOT NULL DEFAULT 0, -- customers who have been sent an event
  done      boolean NOT NULL DEFAULT false,
  PRIMARY KEY (partition, firing)
);

-- All occasions of the journey up to here have been considered.
CREATE TABLE firing_marks (
  journey    text PRIMARY KEY,
  considered timestamptz NOT NULL
);
"""


def upgrade() -> None:
    for statement in SCHEMA.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("schemas go forward only; restore a backup instead")
