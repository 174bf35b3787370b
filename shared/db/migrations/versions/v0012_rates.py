"""Channel rates: what each channel has let through, and the lines of those that wait for it."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

SCHEMA = """
-- The rate whose place a due message waits for: a channel, or `email:` and a domain. Such a message
-- is claimed by its line only, when there is a place, and never walked over before.
ALTER TABLE messages ADD COLUMN waits_for text;

-- One row per rate: the instant at which all that was let through would have left one by one.
CREATE TABLE send_rates (
  line    text PRIMARY KEY,
  rate    double precision NOT NULL, -- messages a second, of whoever wrote last
  next_at timestamptz NOT NULL       -- by Dangol's clock
) WITH (fillfactor = 50);

-- Due messages of each category, so that a large campaign is never in a receipt's way.
DROP INDEX messages_due;
CREATE INDEX messages_due ON messages (category, not_before)
  WHERE status = 'queued' AND waits_for IS NULL;
CREATE INDEX messages_waiting
  ON messages (waits_for, category DESC, decidable_at, priority DESC)
  WHERE status = 'queued' AND waits_for IS NOT NULL;

-- The channels' adapters that a running dispatcher finds broken, said anew every few seconds.
CREATE TABLE channel_pauses (
  dispatcher text NOT NULL,
  channel    text NOT NULL,
  adapter    text NOT NULL,
  since      timestamptz NOT NULL,
  until      timestamptz NOT NULL,  -- it is tried again then
  times      integer NOT NULL,      -- tries in a row that found it broken
  why        text NOT NULL,
  said_until timestamptz NOT NULL,  -- by the database's clock; after it, its dispatcher is gone
  PRIMARY KEY (dispatcher, channel, adapter)
);
"""


def upgrade() -> None:
    for statement in SCHEMA.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("schemas go forward only; restore a backup instead")
