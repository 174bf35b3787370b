"""Erasures: what each has reached, for its receipt, and what a ledger outside needs of them."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

SCHEMA = """
-- Keyed hashes of the ids that were known to be the customer's, so that a backup from before they
-- were linked can be erased again.
ALTER TABLE erasures ADD COLUMN linked_hashes text[] NOT NULL DEFAULT '{}';

-- What the owner of a partition has erased of one id, written in the same transaction.
CREATE TABLE erased_parts (
  partition     integer NOT NULL,
  request       text NOT NULL,
  customer_hash text NOT NULL,
  erased_at     timestamptz NOT NULL,
  rows          jsonb NOT NULL,       -- table: rows that were deleted or emptied
  PRIMARY KEY (partition, request, customer_hash)
);
CREATE INDEX erased_parts_of ON erased_parts (request);

-- Every backup from now on holds the key of the hashes that a ledger names.
INSERT INTO meta (key, value)
  SELECT 'address_key',
    to_jsonb(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''))
  ON CONFLICT DO NOTHING
"""


def upgrade() -> None:
    for statement in SCHEMA.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("schemas go forward only; restore a backup instead")
