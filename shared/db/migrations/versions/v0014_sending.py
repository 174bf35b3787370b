"""`POST /api/messages`: what an `Idempotency-Key` has made, and receipts to whoever asked."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

SCHEMA = """
-- Where the message's receipts go; none: nobody asked for any.
ALTER TABLE messages ADD COLUMN receipts_to text;

-- A receipt is a call that no run waits for: it is signed, guarded, leased and tried again alike.
-- It may be null in a row that was on its way between partitions during the upgrade.
ALTER TABLE calls ADD COLUMN receipt boolean DEFAULT false;

-- What a key has made. The content is kept as a digest: the message itself may be erased.
CREATE TABLE idempotency_keys (
  key        text PRIMARY KEY,      -- derived from the caller's key
  message_id text NOT NULL,
  digest     text,                  -- null: made before digests were kept
  made_at    timestamptz NOT NULL
);
CREATE INDEX idempotency_keys_old ON idempotency_keys (made_at);

-- Until now the key alone named the message.
INSERT INTO idempotency_keys (key, message_id, made_at)
  SELECT DISTINCT ON (id) id, id, created_at FROM messages WHERE journey = '$api'
"""


def upgrade() -> None:
    for statement in SCHEMA.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("schemas go forward only; restore a backup instead")
