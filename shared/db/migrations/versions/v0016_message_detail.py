"""What stands behind a message's reason, for whoever asks why it was dropped."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# Of `template_error`: the pack's rule that the filled-in text breaks, or the kind of failure.
# Nothing of the customer's stands in it.
SCHEMA = "ALTER TABLE messages ADD COLUMN detail text"


def upgrade() -> None:
    op.execute(SCHEMA)


def downgrade() -> None:
    raise NotImplementedError("schemas go forward only; restore a backup instead")
