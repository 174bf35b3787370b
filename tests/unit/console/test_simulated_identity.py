"""Several ids of one customer in one file of events."""

import json
from typing import Any

from services.console.simulate import simulate
from services.journey.language.compile import compile_journey
from shared.workspace import WorkspaceSettings

CART = """
journey: cart
trigger: {event: Added}
entry: {key: event.cart}
exit: [{event: Bought, where: event.cart == trigger.cart}]
steps:
  - wait: 1h
  - {send: push, template: a, id: nudge}
  - wait: 1h
  - {send: push, template: a, id: again}
"""
QUIET = {"category": "marketing", "from": "11:00", "to": "12:00"}


def line(at: str, kind: str, user: str | None, device: str | None, **more: Any) -> bytes:
    said = {"timestamp": f"2026-03-02T{at}Z", "type": "identify" if kind == "identify" else "track"}
    said |= {"event": kind} if kind != "identify" else {}
    ids = {"userId": user, "anonymousId": device}
    return json.dumps({**said, **{n: v for n, v in ids.items() if v}, **more}).encode()


def rows(*lines: bytes, **policies: Any) -> list[tuple[str, str, str, str | None]]:
    settings = WorkspaceSettings.model_validate({"policies": {"consent": "assumed", **policies}})
    found = simulate({"cart": compile_journey(CART, 1)}, settings, lines)
    return [(r["at"][11:16], r["customer"], r["step"], r["reason"]) for r in found]


ADDED = line("10:00:00", "Added", None, "d", properties={"cart": "c1"})
TOKEN = line("10:00:01", "identify", None, "d", traits={"push_token": "t"})


def test_a_message_is_the_users_once_the_ids_are_linked() -> None:
    login = line("11:30:00", "identify", "u", "d", traits={})
    assert rows(ADDED, TOKEN, login) == [
        ("11:00", "d", "nudge", None),
        ("12:00", "u", "again", None),
    ]


def test_a_held_message_moves_along() -> None:
    login = line("11:30:00", "identify", "u", "d", traits={})
    held = rows(ADDED, TOKEN, login, quiet_hours=[QUIET])
    assert held == [("12:00", "u", "nudge", None), ("13:00", "u", "again", None)]


def test_a_held_message_is_withdrawn_by_what_the_guest_had_bought() -> None:
    bought = line("11:10:00", "Bought", None, "phone", properties={"cart": "c1"})
    logins = [
        line(f"11:2{n}:00", "identify", "u", d, traits={}) for n, d in ((0, "d"), (5, "phone"))
    ]
    assert rows(ADDED, TOKEN, bought, *logins, quiet_hours=[QUIET]) == [
        ("11:25", "u", "nudge", "run_ended")
    ]


def test_caps_join() -> None:
    other = line("10:00:00", "Added", "u", None, properties={"cart": "c2"})
    token = line("10:00:01", "identify", "u", None, traits={"push_token": "t2"})
    login = line("11:30:00", "identify", "u", "d", traits={})
    cap = {"category": "marketing", "limit": 2, "per": "24h"}
    assert rows(ADDED, TOKEN, other, token, login, frequency_caps=[cap]) == [
        ("11:00", "d", "nudge", None),
        ("11:00", "u", "nudge", None),
        ("12:00", "u", "again", "frequency_cap"),
        ("12:00", "u", "again", "frequency_cap"),
    ]


def test_consent_joins_and_the_newest_statement_counts() -> None:
    yes = line("10:00:02", "identify", None, "d", traits={"consent": {"push": True}})
    no = line("10:30:00", "identify", "u", None, traits={"consent": {"push": False}})
    login = line("10:40:00", "identify", "u", "d", traits={})
    assert rows(ADDED, TOKEN, yes, no, login, consent="required") == [
        ("11:00", "u", "nudge", "unsubscribed"),
        ("12:00", "u", "again", "unsubscribed"),
    ]
