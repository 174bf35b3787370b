"""RFM: each customer's score beside the row that holds it, for conditions in SQL and for counts."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A copy of what the packed state holds, written in the same transaction.
    op.execute("ALTER TABLE customers ADD COLUMN rfm jsonb")


def downgrade() -> None:
    raise NotImplementedError("schemas go forward only; restore a backup instead")
