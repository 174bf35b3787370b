"""Migrations leave the release before alone, which may run until all of it has been replaced."""

from typing import Any

import pytest
from alembic.script import ScriptDirectory

from shared.db import upgrade
from shared.db.migrate import HEAD, SERVES, Schema
from tests.additive import objections, plain

REASONS = {
    ("0003", "CREATE INDEX customers_forwarded"): "before the first release",
    ("0004", "INSERT INTO journey_changes"): "before the first release",
    ("0004", "ALTER TABLE conversions ADD COLUMN held_by"): "before the first release",
    ("0006", "ALTER TABLE keys ADD COLUMN kind"): "before the first release; a few rows",
    ("0006", "ALTER TABLE keys ALTER COLUMN kind SET DEFAULT"): "before the first release",
    ("0006", "ALTER TABLE keys ADD COLUMN rate"): "before the first release; a few rows",
    ("0006", "ALTER TABLE keys ADD COLUMN daily"): "before the first release; a few rows",
    ("0006", "CREATE INDEX set_aside_at"): "before the first release; 100,000 rows at most",
    ("0012", "DROP INDEX messages_due"): "before the first release",
    ("0012", "CREATE INDEX messages_due"): "before the first release",
    ("0012", "CREATE INDEX messages_waiting"): "before the first release; no row has the column",
    ("0013", "INSERT INTO meta"): "before the first release; one row that nobody had",
    ("0014", "INSERT INTO idempotency_keys"): "before the first release; a table of its own",
}
"""Revision and beginning of a statement that is objected to → why it may be all the same."""


class _Recorder:
    """Stands where a migration expects `alembic.op`."""

    def __init__(self) -> None:
        self.statements: list[str] = []

    def execute(self, statement: str) -> None:
        self.statements.append(statement)

    def get_bind(self) -> "_Recorder":
        return self

    exec_driver_sql = execute


@pytest.fixture
def migrations(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Revision → its statements, as the migration executes them."""
    found = {}
    for script in ScriptDirectory.from_config(upgrade._config()).walk_revisions():
        recorder = _Recorder()
        module: Any = script.module
        monkeypatch.setattr(module, "op", recorder)
        module.upgrade()
        found[script.revision] = recorder.statements
    return found


def test_every_statement_is_additive_or_has_a_reason(migrations: dict[str, list[str]]) -> None:
    open_ones, used = [], set()
    for revision, statements in sorted(migrations.items()):
        assert statements, f"{revision} says nothing that could be read"
        for statement, what in objections(statements):
            excuse = next(
                (k for k in REASONS if k[0] == revision and statement.startswith(k[1])), None
            )
            used.add(excuse)
            if excuse is None:
                open_ones.append(f"{revision}: `{statement[:90]}` {what}")
    assert open_ones == [], (
        "say in REASONS why the release before goes on, or do it in two releases"
    )
    assert REASONS.keys() - used == set(), "reasons for nothing"


def test_what_came_after_the_release_before_needs_no_excuse_of_the_past() -> None:
    late = [key for key, why in REASONS.items() if key[0] > SERVES and "before the first" in why]
    assert late == []


def test_one_release_at_least_is_served(migrations: dict[str, list[str]]) -> None:
    assert SERVES in migrations
    assert SERVES < HEAD


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE timers",
        "ALTER TABLE messages DROP COLUMN context",
        "ALTER TABLE messages RENAME COLUMN context TO words",
        "ALTER TABLE messages RENAME TO mail",
        "ALTER TABLE messages ALTER COLUMN attempts TYPE bigint",
        "ALTER TABLE messages ALTER COLUMN channel SET NOT NULL",
        "ALTER TABLE messages ALTER COLUMN attempts DROP DEFAULT",
        "ALTER TABLE messages ADD COLUMN tone text NOT NULL",
        "ALTER TABLE messages ADD COLUMN tone text, ADD COLUMN mood text NOT NULL",
        "ALTER TABLE messages ADD COLUMN tone uuid DEFAULT gen_random_uuid()",
        "ALTER TABLE messages ADD COLUMN tone text CHECK (tone IN ('a', 'b'))",
        "ALTER TABLE messages ADD CONSTRAINT some CHECK (attempts < 9)",
        "CREATE INDEX messages_tone ON messages (tone)",
        "CREATE UNIQUE INDEX CONCURRENTLY messages_once ON messages (customer)",
        "UPDATE messages SET attempts = 0",
        "DELETE FROM messages",
        "TRUNCATE messages",
        "CREATE OR REPLACE FUNCTION dangol_size(value jsonb) RETURNS integer RETURN 1",
        "CREATE TRIGGER t BEFORE INSERT ON messages EXECUTE FUNCTION f()",
        "-- what a note says counts for nothing: ADD COLUMN\nDROP INDEX messages_due",
    ],
)
def test_what_the_release_before_would_notice_is_objected_to(statement: str) -> None:
    assert list(objections([statement]))


@pytest.mark.parametrize(
    "statements",
    [
        ["ALTER TABLE messages ADD COLUMN tone text"],
        ["ALTER TABLE keys\n ADD COLUMN a numeric(3, 1), ADD COLUMN b text NOT NULL DEFAULT ''"],
        ["CREATE INDEX CONCURRENTLY messages_tone ON messages (tone)"],
        ["CREATE TABLE moods (id text)", "CREATE UNIQUE INDEX moods_once ON moods (id)"],
        ["CREATE TABLE moods (id text)", "ALTER TABLE moods ALTER COLUMN id SET NOT NULL"],
    ],
)
def test_what_only_adds_is_let_through(statements: list[str]) -> None:
    assert list(objections(statements)) == []


def test_notes_are_no_part_of_a_statement() -> None:
    assert plain("CREATE TABLE t ( -- DROP TABLE u\n id text)") == "CREATE TABLE t ( id text)"


@pytest.mark.parametrize(
    ("schema", "ready"),
    [
        (Schema(HEAD), True),
        (Schema(None), False),
        (Schema(SERVES, SERVES), False),
        (Schema("9999"), False),
        (Schema("9999", HEAD), True),
        (Schema("9999", "9998"), False),
        (Schema("9999", "0001"), True),
    ],
)
def test_a_newer_schema_is_run_on_if_it_says_that_it_serves_us(schema: Schema, ready: bool) -> None:
    assert schema.is_ready is ready
