"""What a person reads: the failure, the timeline, the coverage; and what a CI service reads."""

from pathlib import Path
from textwrap import dedent
from xml.etree import ElementTree as Xml

import pytest

from services.console.testing import junit, report
from services.console.testing.watching import changes
from services.journey.language.problems import Problem
from shared.errors import BadInput
from tests.unit.console.test_testing_shop import ADDED, CART, CUSTOMER, case, files, one, run

VIP = CUSTOMER.replace("traits: {", "traits: {tier: vip, ")
BOUGHT = "{after: 30m, event: Bought, properties: {cart_id: c1}}"
SEEN = "{after: 2h, event: Seen, properties: {much: true}}"


def timeline(*events: str, **more: str) -> list[str]:
    """The lines behind the one with the customer's traits, without local times."""
    lines = one("{}", *events, **more).lines
    assert lines[0].text.startswith("the customer's traits")
    return [f"{line.local.offset(line.at)} {line.text}" for line in lines[1:]]


# A failure -----------------------------------------------------------------------------------


def test_a_failure_shows_the_place_both_sides_and_the_way_between() -> None:
    expect = "{sent: [{channel: email}], ended: {reason: exit}}"
    result = one(expect, name="단골은 밤에 듣지 않는다", at="2026-03-02T20:30+09:00", customer=VIP)
    text = "\n".join(line[8:] for line in report.failure_lines(result))
    traits = (
        'the customer\'s traits: {"tier":"vip","email":"a@shop.example","push_token":"t",'
        '"consent":{"email":true,"push":true}}'
    )
    morning = "+11h30m, 2026-03-03T08:00+09:00"
    assert text == dedent(f"""\
        journeys/cart.yaml:27

                                 expected  got
        line 32  sent 1 channel  email     push
        line 32  ended reason    exit      told

        +0s      2026-03-02T20:30+09:00  {traits}
        +0s      2026-03-02T20:30+09:00  event Added {{"cart_id":"c1","price":300}}
        +0s      2026-03-02T20:30+09:00  enters cart
        +0s      2026-03-02T20:30+09:00  reaches wait-1, waits until +1h, 2026-03-02T21:30+09:00
        +1h      2026-03-02T21:30+09:00  reaches branch-2: when profile.tier == "vip"
        +1h      2026-03-02T21:30+09:00  reaches nudge: send push, else email, template hello
        +1h      2026-03-02T21:30+09:00  nudge: push is held until {morning}: quiet_hours
        +11h30m  2026-03-03T08:00+09:00  nudge: push is sent
        +11h30m  2026-03-03T08:00+09:00  reaches exit-2-1-2
        +11h30m  2026-03-03T08:00+09:00  ends at exit-2-1-2: told
        """)


def test_columns_stand_below_each_other_whatever_the_script() -> None:
    rows = [("단골", "x"), ("abcde", "y")]
    assert list(report.side_by_side(rows)) == ["단골   x", "abcde  y"]


# The timeline --------------------------------------------------------------------------------


def test_an_event_that_starts_nothing_says_what_the_trigger_asks_for() -> None:
    assert timeline("{event: Added, properties: {price: 5}}")[1:] == [
        "+0s does not enter: not_matched, the trigger asks for event.price >= 100"
    ]


def test_each_refusal_has_its_reason() -> None:
    nobody = "{id: u1, traits: {tier: vip}}"
    assert timeline(customer=nobody)[1:] == [
        "+0s does not enter: entry_condition, profile.email != null does not hold"
    ]
    again = "{after: 1d, event: Added, properties: {cart_id: c1, price: 300}}"
    assert timeline(ADDED, again)[-1] == "+1d does not enter: reentry, which is 3d"


def test_an_exit_says_which_condition_held_and_which_did_not() -> None:
    other = BOUGHT.replace("c1", "c2")
    assert timeline(ADDED, other, BOUGHT)[3:] == [
        '+30m event Bought {"cart_id":"c2"}',
        "+30m no exit: event.cart_id == trigger.cart_id does not hold",
        '+1h event Bought {"cart_id":"c1"}',
        "+1h ends at wait-1: exit, event.cart_id == trigger.cart_id",
    ]


def test_of_several_exits_by_one_event_only_the_one_that_held_is_told() -> None:
    two = CART.replace("\nexit:", "\nexit:\n  - {event: Bought, where: event.total > 9}")
    (result,) = run(files(case("{}", ADDED, BOUGHT), cart=two)).results
    assert [line.text for line in result.lines[-2:]] == [
        'event Bought {"cart_id":"c1"}',
        "ends at wait-1: exit, event.cart_id == trigger.cart_id",
    ]


def test_a_wait_for_says_what_it_heard_and_what_not() -> None:
    little = SEEN.replace("true", "false")
    assert timeline(ADDED, little, SEEN.replace("2h", "30m"))[3:] == [
        "+1h reaches branch-2: otherwise",
        "+1h reaches look, waits for Seen until +3h, 2026-03-02T13:00+09:00",
        '+2h event Seen {"much":false}',
        "+2h look waits on: event.much == true does not hold",
        '+2h30m event Seen {"much":true}',
        "+2h30m look has waited for it: event.much == true",
        "+2h30m reaches exit-3-1-1",
        "+2h30m ends at exit-3-1-1: seen",
    ]


def test_a_timeout_a_passed_over_channel_and_a_drop_are_told() -> None:
    assert timeline()[5:] == [
        "+3h look has timed out",
        "+3h reaches mail: send email, template hello",
        "+3h mail: email is sent",
        "+3h ends at mail: completed",
    ]
    no_push = VIP.replace("push_token: t, ", "").replace("email: true", "email: false")
    assert "+1h nudge: not by push: no_address; email is dropped: unsubscribed" in timeline(
        customer=no_push
    )


def test_a_restart_a_repetition_of_the_wait_and_the_cut_are_told() -> None:
    again = "{after: 10m, event: Added, properties: {cart_id: c1, price: 300}}"
    assert timeline(ADDED, again, until="30m")[3:] == [
        '+10m event Added {"cart_id":"c1","price":300}',
        "+10m begins again: the run at wait-1 is restarted",
        "+10m reaches wait-1, waits until +1h10m, 2026-03-02T11:10+09:00",
        "+30m the test ends here",
    ]


def test_variants_loops_goals_and_emitted_events_are_told() -> None:
    journey = dedent("""\
        journey: cart
        trigger: {event: Added}
        goal: {event: Bought, value: event.total}
        steps:
          - split:
              - {variant: all, weight: 1, steps: []}
              - {variant: none, weight: 0, steps: []}
          - repeat:
              times: 2
              every: 1d
              steps:
                - emit: Bought
                  properties: {total: 5}
        """)
    (result,) = run(files(case("{}"), cart=journey)).results
    texts = [line.text for line in result.lines[3:]]
    assert texts == [
        "reaches split-1",
        "split-1 chooses the variant all",
        "reaches repeat-2",
        "reaches emit-2-1-1",
        "an event is emitted: Bought",
        "repeat-2 waits until +1d, 2026-03-03T10:00+09:00",
        'event Bought {"total":5}',
        "the goal is reached, value 5",
        "reaches emit-2-1-1",
        "an event is emitted: Bought",
        "ends at repeat-2: completed",
        'event Bought {"total":5}',
    ]


def test_local_times_follow_the_customer() -> None:
    lines = one("{}", ADDED, "{after: 1m, traits: {timezone: Europe/Paris}}").lines
    stamps = [line.local.time(line.at) for line in lines]
    assert stamps[0] == "2026-03-02T10:00+09:00"
    assert stamps[-1] == "2026-03-02T08:00+01:00"


# Coverage ------------------------------------------------------------------------------------


def test_steps_and_ways_that_no_test_reached_are_listed_with_their_places() -> None:
    other = "journey: other\ntrigger: {event: X}\nsteps: [{send: email, template: hello}]\n"
    done = run(files(case("{}", ADDED, BOUGHT), case("{}", ADDED, SEEN), other=other))
    assert list(report.coverage_lines(done)) == [
        "reached by no test:",
        '  journeys/cart.yaml:10  cart  branch-2 (when profile.tier == "vip")',
        "  journeys/cart.yaml:15  cart  nudge (send)",
        "  journeys/cart.yaml:16  cart  exit-2-1-2 (exit)",
        "  journeys/cart.yaml:22  cart  look (timed_out)",
        "  journeys/cart.yaml:25  cart  mail (send)",
        "without tests: other",
    ]
    assert report.summary(done).startswith("2 passed, 0 failed in 0.")


def test_what_all_tests_together_reach_is_not_listed() -> None:
    done = run(files(case("{}", customer=VIP), case("{}", ADDED, SEEN), case("{}")))
    assert list(report.coverage_lines(done)) == []


def test_tests_in_a_file_of_their_own_belong_to_their_journey() -> None:
    content = files(cart=CART)
    content["tests/cart.yaml"] = f"journey: cart\ntests:\n{case('{entered: false}')}".encode()
    (suite,) = run(content).suites
    (result,) = suite.failed
    assert (result.case.file, result.case.line) == ("tests/cart.yaml", 3)


# JUnit ---------------------------------------------------------------------------------------


def test_junit_has_a_suite_per_journey_and_a_case_per_test() -> None:
    tests = case("{}", name="passes"), case("{sent: []}", name="fails & tells <why>")
    root = Xml.fromstring(junit.report_xml(run(files(*tests, other=CART.replace("cart", "b", 1)))))
    assert (root.tag, root.attrib["tests"], root.attrib["failures"]) == ("testsuites", "2", "1")
    (suite,) = root
    assert (suite.tag, suite.attrib["name"], suite.attrib["errors"]) == ("testsuite", "cart", "0")
    passed, failed = suite
    assert passed.attrib | {"time": ""} == {
        "classname": "cart",
        "name": "passes",
        "file": "journeys/cart.yaml",
        "line": "27",
        "time": "",
    }
    assert list(passed) == []
    (failure,) = failed
    assert failure.tag == "failure"
    assert failure.attrib["message"].startswith("sent 1: expected nothing, got email hello")
    assert failure.text is not None
    assert "ends at mail: completed" in failure.text


def test_problems_are_errors_in_junit_and_odd_characters_do_no_harm() -> None:
    problem = Problem("journeys/a.yaml", 3, 5, "no \x1b such thing", code="odd")
    (suite,) = Xml.fromstring(junit.problems_xml([problem]))
    assert (suite.attrib["errors"], suite[0].attrib["line"]) == ("1", "3")
    assert suite[0][0].attrib == {"message": "no � such thing", "type": "odd"}


def test_junit_is_written_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "junit.xml"
    file.write_text("old and longer than the new one")
    junit.write_whole(file, b"new")
    assert file.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(BadInput, match="cannot write"):
        junit.write_whole(tmp_path / "nowhere/junit.xml", b"new")


# Watch ---------------------------------------------------------------------------------------


class Stopped(Exception):
    pass


def test_a_change_is_noticed_once_and_only_when_it_rests(tmp_path: Path) -> None:
    (tmp_path / "journeys").mkdir()
    file = tmp_path / "journeys/a.yaml"
    (tmp_path / "dangol.yaml").write_text("")
    texts = ["", "", "a", "ab", "ab", "ab", "ab"]
    looks: list[int] = []

    def pause() -> None:
        looks.append(len(looks))
        if not texts:
            raise Stopped
        (tmp_path / "notes.txt").write_text("x" * len(texts))  # is nobody's business
        if (text := texts.pop(0)) and (not file.exists() or file.read_text() != text):
            file.write_text(text)

    watch = changes(tmp_path, pause)
    next(watch)
    assert len(looks) == 0
    next(watch)
    assert len(looks) == 5
    with pytest.raises(Stopped):
        next(watch)
