"""Complaints about advertising mail, and the sending domains whose mail waits because of them."""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

SCHEMA = """
-- Advertising mails handed over in five minutes; dispatchers add to it every few seconds.
CREATE TABLE sent_mail (
  domain text NOT NULL,        -- of the sender
  since  timestamptz NOT NULL, -- the five minutes' begin
  mails  bigint NOT NULL,
  PRIMARY KEY (domain, since)
) WITH (fillfactor = 50);

-- One row for each mail that somebody complained about, however often it is told.
CREATE TABLE complaints (
  partition  integer NOT NULL,
  message_id text NOT NULL,
  domain     text NOT NULL,
  sent_at    timestamptz NOT NULL, -- a complaint counts for the day of its mail
  told_at    timestamptz NOT NULL,
  PRIMARY KEY (partition, message_id)
);
CREATE INDEX complaints_by_domain ON complaints (domain, sent_at);

-- The last pause of each domain that ever had one.
CREATE TABLE mail_pauses (
  domain     text PRIMARY KEY,
  since      timestamptz NOT NULL,
  until      timestamptz NOT NULL, -- moved back by whoever ends it
  mails      bigint NOT NULL,      -- what it was paused for
  complaints bigint NOT NULL,
  ended_by   text
);
"""


def upgrade() -> None:
    for statement in SCHEMA.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("schemas go forward only; restore a backup instead")
