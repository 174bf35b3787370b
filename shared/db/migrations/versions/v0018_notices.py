"""Which consents an import has carried over: whoever gave them was told of it by another system."""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

# Unknown of what was stated before this: see `shared/notices.py`.
SCHEMA = "ALTER TABLE consent_ledger ADD COLUMN imported boolean"


def upgrade() -> None:
    op.execute(SCHEMA)


def downgrade() -> None:
    raise NotImplementedError("schemas go forward only; restore a backup instead")
