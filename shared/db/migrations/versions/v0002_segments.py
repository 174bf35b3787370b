"""Segments: their conditions with each revision, and what journeys know of memberships."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = """
-- Name → {where, title}: what was in force is still asked for events received then.
ALTER TABLE workspaces ADD COLUMN segments jsonb NOT NULL DEFAULT '{}';

-- Journey → [baseline, inside], a part of `state` that the sweeps' SQL can read.
ALTER TABLE customers ADD COLUMN members jsonb NOT NULL DEFAULT '{}';
"""


def upgrade() -> None:
    for statement in SCHEMA.split(";"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("schemas go forward only; restore a backup instead")
