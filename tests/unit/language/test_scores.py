"""`rfm` in conditions, and what dangol.yaml says of it."""

from datetime import time, timedelta

import msgspec
import pytest

from shared.rfm import score_of
from tests.unit.language.sayings import NOW, SETTINGS, journey, load, only, scope
from tests.unit.language.sayings import value as evaluate

RFM = SETTINGS + "rfm: {event: Order Completed, value: total}\n"
BRANCH = '- branch: [{when: "%s", steps: []}]'


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("rfm.recency", 5),
        ("rfm.frequency >= 4 and rfm.monetary < 3", True),
        ("rfm.segment", "champions"),
        ("rfm.segment in ['champions', 'loyal']", True),
        ("any(p > rfm.recency for p in event.list)", True),
    ],
)
def test_a_condition_sees_the_score(text: str, value: object) -> None:
    scored = msgspec.structs.replace(scope({"list": [6]}), rfm=score_of(5, 4, 2, NOW))
    assert evaluate(text, scored) == value


@pytest.mark.parametrize("band", ["recency", "frequency", "monetary", "segment"])
def test_without_a_score_every_band_is_null(band: str) -> None:
    assert evaluate(f"rfm.{band}", scope()) is None


def test_what_a_purchase_is_stands_in_the_settings() -> None:
    rfm = load({"dangol.yaml": RFM}).settings.rfm
    assert rfm is not None
    assert (rfm.event, rfm.value) == ("Order Completed", "total")
    assert (rfm.window, rfm.at) == (timedelta(days=365), time(3))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("{value: total}", "`event` is missing"),
        ("{event: A, window: 1h}", "at least 1d"),
        ("{event: A, at: '25:00'}", "no time of day"),
        ("{event: A, evnt: B}", "no field `evnt`"),
    ],
)
def test_settings_that_say_nothing_are_problems(fields: str, message: str) -> None:
    problems = load({"dangol.yaml": SETTINGS + f"rfm: {fields}\n"}).problems
    assert any(message in p.message + p.hint for p in problems), [p.render() for p in problems]


def test_a_use_without_settings_is_a_problem_where_it_stands() -> None:
    text = journey(BRANCH % "profile.vip == true and rfm.recency > 3")
    found = only(list(load({"journeys/j.yaml": text}).problems))
    assert found.code == "rfm_not_configured"
    assert (found.line, found.column) == (4, 46)
    assert "rfm: {event: Order Completed" in found.hint
    assert load({"journeys/j.yaml": text, "dangol.yaml": RFM}).problems == ()


def test_a_segment_is_looked_at_as_well() -> None:
    text = "segment: vip\nwhere: rfm.recency > 3\n"
    found = only(list(load({"segments/vip.yaml": text}).problems))
    assert (found.code, found.file, found.line) == ("rfm_not_configured", "segments/vip.yaml", 2)
    assert load({"segments/vip.yaml": text, "dangol.yaml": RFM}).problems == ()


def test_where_the_settings_cannot_be_read_that_alone_is_told() -> None:
    text = "segment: vip\nwhere: rfm.recency > 3\n"
    problems = load({"segments/vip.yaml": text, "dangol.yaml": "timezone: 9\n"}).problems
    assert {problem.file for problem in problems} == {"dangol.yaml"}


def test_a_segment_that_there_is_not_is_a_problem() -> None:
    text = journey(BRANCH % "rfm.segment == 'champion'")
    found = only(list(load({"journeys/j.yaml": text, "dangol.yaml": RFM}).problems))
    assert "never `champion`" in found.message
    assert "`champions`" in found.hint
