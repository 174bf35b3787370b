"""Whose id a customer's row is: for SQL over all customers, and for people who look one up."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = """
ALTER TABLE customers ADD COLUMN forwarded_to text;
CREATE INDEX customers_forwarded ON customers (forwarded_to) WHERE forwarded_to IS NOT NULL;
"""


def upgrade() -> None:
    for statement in SCHEMA.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("schemas go forward only; restore a backup instead")
