"""Erasures: their receipts, and messages of which nothing but the count is left."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

SCHEMA = """
-- Set with an erasure: its customer is a keyed hash, and its outcome is recorded without detail.
ALTER TABLE messages ADD COLUMN erased boolean DEFAULT false;

CREATE TABLE erasures (
  id            text PRIMARY KEY,
  customer      text,                  -- until it is complete
  customer_hash text NOT NULL,
  requested_at  timestamptz NOT NULL,
  requested_by  text NOT NULL,
  erased_at     timestamptz,           -- taken in by the owner of the customer
  complete_at   timestamptz NOT NULL   -- nothing of before can come any more
);
CREATE INDEX erasures_open ON erasures (complete_at) WHERE customer IS NOT NULL
"""


def upgrade() -> None:
    for statement in SCHEMA.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("schemas go forward only; restore a backup instead")
