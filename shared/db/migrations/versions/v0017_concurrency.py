"""Calls at a time, kept by all dispatchers together: how many each has under way."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# One row for each connection with a limit and each dispatcher that has called it lately; the
# connection's own row, in `send_rates`, is the lock under which these are read and written.
SCHEMA = """
CREATE TABLE send_calls (
  line       text NOT NULL,        -- the channel and the adapter
  dispatcher text NOT NULL,
  calls      integer NOT NULL,     -- under way, of this dispatcher
  said_until timestamptz NOT NULL, -- by the database's clock; after it, its dispatcher is gone
  PRIMARY KEY (line, dispatcher)
) WITH (fillfactor = 50)
"""


def upgrade() -> None:
    op.execute(SCHEMA)


def downgrade() -> None:
    raise NotImplementedError("schemas go forward only; restore a backup instead")
