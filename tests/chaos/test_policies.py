"""What the oracle of the chaos expects of messages that a pause has kept."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.workspace import WorkspaceSettings
from tests.chaos.oracle import Expected
from tests.chaos.policies import _crossed, judge_policies
from tests.chaos.tables import Row, Tables

MADE = datetime(2026, 4, 6, 12, 0, tzinfo=UTC)
RESUMED = MADE + timedelta(minutes=9)
ANEW = RESUMED + timedelta(minutes=3)
SETTINGS = WorkspaceSettings.model_validate(
    {
        "timezone": "Asia/Seoul",
        "policies": {
            "consent": "assumed",
            "frequency_caps": [{"channels": ["push"], "limit": 1, "per": "6s", "then": "hold"}],
        },
        "channels": {"push": {"adapter": "log"}},
    }
)


def row(decidable_at: datetime, decided_at: datetime, held_reason: str | None) -> Row:
    return Row(
        "u1", "browse", "seen", "marketing", 50, ("push",), False, MADE, decidable_at, "decided",
        "push", "sent", None, decided_at, 1, held_reason, RESUMED, ANEW,
    )  # fmt: skip


def found(one: Row, taken_at: datetime) -> list[str]:
    places = {"m1": (taken_at, "push")}
    tables = Tables({"m1": one}, places, {}, Counter(), {}, {}, (), 0, 0)
    expected = Expected(addresses={"u1": {"push_token": "t"}})
    findings: list[str] = []

    def find(what: str, *_told: object) -> None:
        findings.append(what)

    figures: dict[str, Any] = {}
    judge_policies(find, figures, expected, tables, SETTINGS)
    return findings


def test_what_waited_for_a_pause_is_decided_at_the_moment_that_its_resume_names() -> None:
    kept = row(ANEW, ANEW + timedelta(seconds=1), "paused")
    assert found(kept, ANEW) == []
    assert found(kept, MADE) == ["place under the caps"]


def test_what_was_decided_before_the_resume_is_left_where_it_was() -> None:
    early = row(MADE, MADE + timedelta(seconds=1), None)
    assert found(early, MADE) == []
    assert found(early, ANEW) == ["place under the caps"]


def test_decisions_crossed_where_an_earlier_message_was_there_late() -> None:
    def decided(due: float, at: float) -> Row:
        return row(MADE + timedelta(seconds=due), MADE + timedelta(seconds=at), None)

    in_order = [("a", decided(1, 1.2)), ("b", decided(2, 2.1)), ("c", decided(3, 3.1))]
    assert _crossed(in_order) == set()
    late = ("z", decided(1.5, 2.5))
    assert _crossed([*in_order, late]) == {"b", "z"}
