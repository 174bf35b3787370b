"""The tracking plan: with each revision, and what has broken it."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

STATEMENTS = (
    # NULL: the workspace has no events.yaml.
    "ALTER TABLE workspaces ADD COLUMN tracking jsonb",
    """
CREATE TABLE plan_violations (
  source    text NOT NULL,            -- the write key's name, or the webhook source's
  event     text NOT NULL,            -- empty: names for which there was no room
  property  text NOT NULL,            -- empty: the event as a whole
  violation text NOT NULL,
  n         bigint NOT NULL,
  first_at  timestamptz NOT NULL,
  last_at   timestamptz NOT NULL,
  PRIMARY KEY (source, event, property, violation)
)""",
    "CREATE INDEX plan_violations_last_at ON plan_violations (last_at)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("schemas go forward only; restore a backup instead")
