"""The edge: kinds and limits of write keys, and what it takes to replay what was set aside."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

STATEMENTS = (
    # Keys made before could only post events; they may stand in web pages, so they gain nothing.
    """
    ALTER TABLE keys ADD COLUMN kind text NOT NULL DEFAULT 'browser'
    CHECK (kind IN ('browser', 'secret'))
    """,
    "ALTER TABLE keys ALTER COLUMN kind SET DEFAULT 'secret'",
    "ALTER TABLE keys ADD COLUMN rate double precision CHECK (rate > 0)",
    "ALTER TABLE keys ADD COLUMN daily bigint CHECK (daily > 0)",
    """
    CREATE TABLE key_usage (
      key_id text NOT NULL,
      day    date NOT NULL,
      events bigint NOT NULL,
      PRIMARY KEY (key_id, day)
    )
    """,
    # What the request said of all its events, without which an event reads differently.
    "ALTER TABLE set_aside ADD COLUMN scene jsonb",
    "ALTER TABLE set_aside ADD COLUMN replayed_at timestamptz",
    "ALTER TABLE set_aside ADD COLUMN replayed_by text",
    "CREATE INDEX set_aside_at ON set_aside (at)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("schemas go forward only; restore a backup instead")
