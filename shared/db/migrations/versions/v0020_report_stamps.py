"""Which signatures of reports have been used: those that cover no more than their time."""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

SCHEMA = """
-- Bizgo signs the time of a report and not the report. So a signature is good for one report, and
-- what comes again under it must be the same. Kept for as long as a signature could be believed.
CREATE TABLE report_stamps (
  provider text NOT NULL,
  stamp    text NOT NULL,                -- the time that is signed, as it came
  digest   bytea NOT NULL,               -- SHA-256 of the report
  seen_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (provider, stamp)
);
CREATE INDEX report_stamps_seen ON report_stamps (seen_at)
"""


def upgrade() -> None:
    for statement in SCHEMA.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("schemas go forward only; restore a backup instead")
