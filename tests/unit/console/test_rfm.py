"""Scores in simulations and tests."""

import json
from typing import Any

import pytest

from services.console.simulate import simulate
from services.journey.language.workspace import load_workspace
from tests.unit.console.test_testing_shop import ADDED, SETTINGS, case, files, run

RFM = "rfm: {event: Bought, value: total, at: '03:00'}\n"
SCORED = """journey: cart
trigger: {event: Added}
steps:
  - branch:
      - when: rfm.segment == "champions" and rfm.monetary == 5
        steps: [{send: email, template: hello, id: best}]
      - when: rfm.recency == null
        steps: [{send: email, template: hello, id: nobody}]
  - exit: over
"""
ENTERING = """journey: vip
trigger: {segment: vip, on: enter}
steps: [{send: email, template: hello, id: thanks}]
"""


def workspace(**more: str) -> dict[str, bytes]:
    content = files(**{"cart": SCORED, **more})
    content["dangol.yaml"] = (SETTINGS + RFM).encode()
    content["segments/vip.yaml"] = b'segment: vip\nwhere: rfm.segment == "champions"\n'
    return content


def events(*added: str) -> list[bytes]:
    """`best` has bought often, `u1` once; each has said yes to e-mail. 03:00 in Seoul is 18:00Z."""
    lines: list[dict[str, Any]] = []
    for name in ("best", "u1"):
        traits = {"email": f"{name}@shop.example", "consent": {"email": True}}
        lines.append({"type": "identify", "userId": name, "traits": traits,
                      "timestamp": "2026-03-02T01:00:00Z"})  # fmt: skip
    for name, at, total in (("u1", "01T01", 10), ("best", "02T02", 20), ("best", "02T03", 30)):
        lines.append(
            {
                "type": "track",
                "userId": name,
                "event": "Bought",
                "properties": {"total": total},
                "timestamp": f"2026-03-{at}:00:00Z",
            }
        )
    for at in added:
        lines += [{"type": "track", "userId": name, "event": "Added", "timestamp": at}
                  for name in ("best", "u1")]  # fmt: skip
    return [json.dumps(line).encode() for line in lines]


def rows(content: dict[str, bytes], lines: list[bytes]) -> list[tuple[str, str, str]]:
    loaded = load_workspace(content)
    assert loaded.problems == (), [problem.render() for problem in loaded.problems]
    found = simulate(loaded.flows, loaded.settings, lines, segments=loaded.segments)
    return [(row["customer"], row["step"], row["at"]) for row in found]


def test_customers_are_scored_at_night() -> None:
    evening, morning = "2026-03-02T17:59:59Z", "2026-03-02T23:00:01Z"
    found = rows(workspace(), events(evening, morning))
    # In the evening u1, who had bought the day before, has a score already, and best has none yet;
    # what is sent then is held until 08:00, for the quiet hours.
    assert found == [("best", "nobody", "2026-03-02T23:00:00Z"), ("best", "best", morning)]


def test_a_night_may_let_somebody_into_a_segment() -> None:
    found = rows(workspace(vip=ENTERING), events())
    # Scored at 03:00 in Seoul; quiet until 08:00, which is 23:00 in UTC.
    assert found == [("best", "thanks", "2026-03-02T23:00:00Z")]


@pytest.mark.parametrize(
    ("score", "expect"),
    [
        ("{recency: 5, frequency: 4, monetary: 5}", "{sent: [{step: best}]}"),
        ("{recency: 5, frequency: 4}", "{sent: []}"),
        ("{recency: 1, frequency: 1, monetary: 5}", "{sent: []}"),
        ("", "{sent: [{step: nobody}]}"),
    ],
)
def test_a_test_states_the_scores(score: str, expect: str) -> None:
    customer = "{id: u1, traits: {email: a@shop.example, consent: {email: true}}%s}"
    customer %= f", rfm: {score}" if score else ""
    content = files(case(expect, ADDED, customer=customer), cart=SCORED)
    content["dangol.yaml"] = (SETTINGS + RFM).encode()
    (result,) = run(content).results
    assert result.passed, result.differences


def test_a_band_is_between_one_and_five() -> None:
    content = files(case("{}", ADDED, customer="{id: u1, rfm: {recency: 6, frequency: 0}}"))
    messages = [problem.message for problem in load_workspace(content).problems]
    assert any("the most is 5" in message for message in messages), messages
    assert any("the least is 1" in message for message in messages), messages
