"""A journey file against the page: what is refused, where, and with which hint."""

import json
from textwrap import dedent

import pytest

from services.journey.language.schemas import journey_schema
from tests.unit.language.sayings import journey, load, only, places, problems_of

PAGE_EXAMPLE = """\
journey: cart-abandonment
title: 장바구니 이탈 리마인드
stage: revenue
category: marketing
priority: 50
trigger:
  event: Product Added
  where: event.price >= 10000
entry:
  key: event.cart_id
  when_active: restart
  reentry: 3d
  where: profile.email != null
  max_age: 1h
  holdout: 10%
exit:
  - event: Order Completed
    where: event.cart_id == trigger.cart_id
goal:
  event: Order Completed
  where: event.cart_id == trigger.cart_id
  within: 3d
  value: event.total
steps:
  - wait: 1h
  - send: email
    template: hello
    id: first-nudge
  - wait: 22h
  - branch:
      - when: profile.tier in ["gold", "vip"] or trigger.price >= 100000
        steps:
          - send: email
            else: sms
            template: hello
      - otherwise:
          - split:
              - {variant: discount, weight: 50, steps: [{send: email, template: hello}]}
              - {variant: scarcity, weight: 50, steps: [{send: sms, template: hello}]}
tests:
  - name: who buys within the hour hears nothing
    at: 2026-03-02T20:00+09:00
    customer: {id: u1, traits: {email: a@example.com, push_token: t, timezone: Asia/Seoul}}
    events:
      - {event: Product Added, properties: {cart_id: c1, price: 30000}}
      - {after: 30m, event: Order Completed, properties: {cart_id: c1, total: 30000}}
    expect:
      sent: []
      ended: {reason: exit}
"""


def test_the_page_s_journey_has_no_problem() -> None:
    assert problems_of(PAGE_EXAMPLE) == []


@pytest.mark.parametrize(
    "trigger",
    [
        "{event: A, where: event.x > 1}",
        "{any: [{event: A}, {event: B, where: event.x > 1}]}",
        "{api: true}",
        "{segment: vip, on: enter}",
        "{segment: vip, on: exit}",
        '{schedule: "0 10 * * mon", segment: vip}',
        '{schedule: "*/5 9-17 1,15 jan-mar 0", timezone: customer, segment: vip}',
        '{schedule: "0 10 * * mon", timezone: Asia/Seoul, segment: vip}',
        '{date: profile.birthday, offset: -3d, time: "10:00", every: year}',
        "{event: A, audience: 'did(\"B\", where=e.x == trigger.x)'}",
    ],
)
def test_these_triggers_are_available(trigger: str) -> None:
    segment = {"segments/vip.yaml": "segment: vip\nwhere: profile.vip\n"}
    assert problems_of(journey("- wait: 1h", trigger=trigger), **segment) == []


@pytest.mark.parametrize(
    "step",
    [
        '{wait_until: {time: "09:00", weekdays: [mon, fri]}}',
        '{wait_until: {date: profile.expires_at, offset: -3d, time: "10:00", missing: exit}}',
        "{wait_for: {event: A, where: event.x > 1, timeout: 2d}, then: [], timed_out: []}",
        "{wait_for: {any: [{event: A}, {event: B}], timeout: 2d}, id: got-it}",
        "{split: [{variant: a, weight: 1, steps: []}, {variant: b, weight: 0, steps: []}]}",
        "{set: {profile.tier: gold}}",
        "{emit: Tier Reached, properties: {tier: gold, price: trigger.price}}",
        "{repeat: {times: 3, every: 1d, until: profile.done, steps: [{wait: 1h}]}}",
        "{call: https://shop.example/hook, with: {id: trigger.cart_id}, timeout: 5s}",
    ],
)
def test_these_steps_are_available(step: str) -> None:
    assert problems_of(journey(f"- {step}")) == []


@pytest.mark.parametrize(
    ("text", "place", "message", "hint"),
    [
        # the top
        ("trigger: {event: A}\nsteps: [{wait: 1h}]", (1, 1), "`journey` is missing", ""),
        ("journey: j\nsteps: [{wait: 1h}]", (1, 1), "`trigger` is missing", ""),
        ("journey: j\ntrigger: {event: A}", (1, 1), "`steps` is missing", ""),
        ("journey: j\ntrigger: {event: A}\nsteps: []", (3, 8), "at least one", ""),
        ("journey: j\ntrigger: {event: A}\nsteps:", (3, 7), "a list is needed", ""),
        ("journey: j\ntrigger: {event: A}\nsteps: {wait: 1h}", (3, 8), "a list is needed", ""),
        ("- journey: j", (1, 1), "a group of fields", ""),
        ("just text", (1, 1), "a group of fields", ""),
    ],
)
def test_a_file_without_its_parts_is_refused(
    text: str, place: tuple[int, int], message: str, hint: str
) -> None:
    found = only(problems_of(text))
    assert (found.line, found.column) == place
    assert message in found.message
    assert hint in found.hint


@pytest.mark.parametrize(
    ("line", "column", "message", "hint"),
    [
        ("titel: x", 1, "no field `titel`", "`title`"),
        ("title: [a]", 8, "one value is needed here, not a list", ""),
        ("title: {a: b}", 8, "not a group of fields", ""),
        ("title:", 7, "no value", "leave the line out"),
        ("title: ''", 8, "no value", ""),
        ("title: " + "x" * 201, 8, "longer than 200", ""),
        ("exit: [{event: A}, {event: " + "x" * 201 + "}]", 28, "longer than 200", ""),
        ("stage: selling", 8, "`selling` is not one of acquisition", "") ,
        ("stage: revenu", 8, "is not one of", "`revenue`"),
        ("category: ads", 11, "not one of marketing, transactional", ""),
        ("priority: high", 11, "no whole number", ""),
        ("priority: 101", 11, "the most is 100", ""),
        ("priority: -1", 11, "the least is 0", ""),
        ("priority: 5.5", 11, "no whole number", ""),
        ("entry: {holdout: 10}", 18, "no share of customers: write 10%", ""),
        ("entry: {holdout: 101%}", 18, "no share", ""),
        ("entry: {reentry: sometimes}", 18, "no duration", ""),
        ("entry: {max_age: 1 hour}", 18, "no duration", ""),
        ("entry: {max_age: 11y}", 18, "no duration", ""),
        ("entry: {max_age: 9999d}", 18, "longer than ten years", ""),
        ("entry: {when_active: replace}", 22, "not one of ignore, restart", ""),
        ("entry: {where: steps.a.outcome == 'sent'}", 16, "`steps` is not known in `entry`", ""),
        ("entry: {ky: event.x}", 9, "no field `ky`", "`key`"),
        ("entry: [a]", 8, "a group of fields is needed", ""),
        ("exit: {event: A}", 7, "a list is needed", ""),
        ("exit: [{event: A, wher: x}]", 19, "no field `wher`", "`where`"),
        ("exit: [{where: event.x > 1}]", 8, "`event` is missing", ""),
        ("exit: [{event: A, where: evnt.x > 1}]", 26, "no `evnt`", "`event`"),
        ("tests: [{name: a}]", 9, "is missing", ""),
        ("tests: [{name: a, at: monday, customer: {}, events: [{event: A}], expect: {}}]",
         23, "no instant", ""),
        ("tests: [{name: a, at: 2026-03-02T20:00, customer: {}, events: [{event: A}], expect: {}}]",
         23, "no instant", ""),
        ("tests: [{name: a, at: 2026-03-02T20:00Z, customer: {}, events: [], expect: {}}]",
         64, "at least one", ""),
        ("tests: [{at: 2026-03-02T20:00Z, expect: {}, customer: {}, events: [{after: 1d}]}]",
         9, "`name` is missing", ""),
        ("tests: [{name: a, at: 2026-03-02T20:00Z, expect: {}, customer: {}, events: [{at: 1d}]}]",
         82, "no instant", ""),
        ("tests: [{name: a, at: 2026-03-02T20:00Z, expect: {}, customer: {}, events: [{}]}]",
         77, "`event` is missing", ""),
    ],
)  # fmt: skip
def test_a_field_of_the_wrong_shape_is_refused(
    line: str, column: int, message: str, hint: str
) -> None:
    found = problems_of(journey("- wait: 1h", top=line + "\n"))
    assert places(found)[0] == (3, column), [p.render() for p in found]
    assert message in found[0].message
    assert hint in found[0].hint


@pytest.mark.parametrize(
    ("trigger", "column", "message", "hint"),
    [
        ("{evnt: A}", 11, "no field `evnt`", "`event`"),
        ("{event: A, were: x}", 21, "no field `were`", "`where`"),
        ("{event: A, where: trigger.x > 1}", 28, "`trigger` is not known", "write `event`"),
        ("{every: year}", 11, "no field `every`", "`event`"),
        ("{}", 10, "a trigger needs one of", ""),
        ("event", 10, "a trigger is a group of fields", ""),
        ("{any: []}", 16, "at least one", ""),
        ("{any: {event: A}}", 16, "a list is needed", ""),
        ("{segment: vp, on: enter}", 20, "no segment `vp`", "`vip`"),
        ("{segment: vip, on: leave}", 29, "not one of enter, exit", ""),
        ("{segment: vip}", 10, "`on` is missing", ""),
        ('{schedule: "0 10 * *", segment: vip}', 21, "five fields", ""),
        ('{schedule: "0 25 * * mon", segment: vip}', 21, "`25` is no hour", ""),
        ('{schedule: "0 10 * * funday", segment: vip}', 21, "`funday` is no weekday", ""),
        ('{schedule: "0 10-9 * * *", segment: vip}', 21, "runs backwards", ""),
        ('{schedule: "0 10 30 2 *", segment: vip}', 21, "never fires", ""),
        ('{schedule: "0 10 * * mon-1-2", segment: vip}', 21, "is no weekday", ""),
        ('{schedule: "0 10 * * mon"}', 10, "`segment` is missing", ""),
        ('{schedule: "0 10 * * mon", timezone: Mars/X, segment: vip}', 47, "no time zone", ""),
        ("{date: profile.birthday, every: month}", 42, "not one of year", ""),
        ("{date: profile.birthday, offset: 3}", 43, "no duration", ""),
        ('{date: profile.birthday, time: "25:00"}', 41, "no time of day", ""),
        ("{date: event.x}", 17, "`event` is not known in a trigger's `date`", ""),
        ("{api: yes}", 16, "write true", ""),
    ],
)
def test_a_trigger_that_is_none_is_refused(
    trigger: str, column: int, message: str, hint: str
) -> None:
    segment = {"segments/vip.yaml": "segment: vip\nwhere: profile.vip\n"}
    found = problems_of(journey("- wait: 1h", trigger=trigger), **segment)
    assert places(found) == [(2, column)], [p.render() for p in found]
    assert message in found[0].message
    assert hint in found[0].hint


_CALLED = """\
- {call: "https://shop.example/", id: c}
- branch: [{when: steps.c.%s, steps: []}]"""


@pytest.mark.parametrize(
    ("steps", "place", "message", "hint"),
    [
        ("- wait: 1 fortnight", (4, 11), "`1 fortnight` is no duration", ""),
        ("- wait: 10", (4, 11), "no duration", ""),
        ("- wait: 30m1h", (4, 11), "no duration", ""),
        ("- wait:", (4, 10), "no value", ""),
        ("- wiat: 1h", (4, 5), "no field `wiat`", "`wait`"),
        ("- pause: 1h", (4, 5), "`pause` is not a step", "`wait`"),
        ("- wait: 1h\n  send: email", (5, 5), "a step is one thing", "its own dash"),
        ("- wait: 1h\n  template: a", (5, 5), "no field `template`", "") ,
        ("- wait", (4, 5), "a step is a group of fields", "") ,
        ("- {}", (4, 5), "a step needs one of", ""),
        ("- send: email", (4, 5), "`template` is missing", ""),
        ("- send: email\n  templat: hello", (4, 5), "`template` is missing", "`templat`"),
        ("- send: [email, sms]\n  template: hello", (4, 11), "not a list", ""),
        ("- send: emial\n  template: hello", (4, 11), "no channel `emial`", "`email`"),
        ("- send: web_push\n  template: hello", (4, 11), "not set up in dangol.yaml", "web_push"),
        ("- send: email\n  template: hello\n  else: smss", (6, 11), "no channel", "`sms`"),
        ("- send: email\n  template: hello\n  else: [sms, email]", (6, 17), "tried before", ""),
        ("- send: email\n  template: helo", (5, 15), "no template `helo`", "`hello`"),
        ("- send: push\n  template: hello", (5, 15), "no file for `push`", "hello/push.liquid"),
        ("- send: email\n  else: push\n  template: hello", (5, 11), "no file for `push`", ""),
        ("- send: alimtalk\n  template: hello", (4, 11), "information only", "brand_message"),
        ("- send: sms\n  else: alimtalk\n  template: hello", (5, 11), "information only", ""),
        ("- send: email\n  template: hello\n  with: {a: evnt.x, b: event.x}", (6, 26),
         "`event` is not known in a step", "`trigger`"),
        ("- send: email\n  template: hello\n  with: {a: trigger.}", (6, 22), "behind the dot", ""),
        ("- send: email\n  template: hello\n  with: [a]", (6, 11), "a group of fields", ""),
        ("- wait: 1h\n  id: First Nudge", (5, 9), "`First Nudge` is no id", "`first-nudge`"),
        ("- wait: 1h\n  id: first_nudge", (5, 9), "is no id", "`first-nudge`"),
        ("- wait: 1h\n  id: a\n- wait: 2h\n  id: a", (7, 9), "twice: first in line 5", "another"),
        ("- wait: 1h\n- wait: 1h\n  id: wait-1", (4, 5), "`wait-1` stands here twice", ""),
        ("- branch: []", (4, 13), "at least one", ""),
        ("- branch:\n    - {when: event.x > 1, steps: []}", (5, 16), "`event` is not known", ""),
        ("- branch:\n    - {when: 'profile.x', step: []}", (5, 9), "`steps` is missing", "`step`"),
        ("- branch:\n    - {steps: []}", (5, 10), "is not an arm of a branch", "`when`"),
        ("- branch:\n    - {otherwise: []}\n    - {when: profile.x, steps: []}", (5, 10),
         "last arm", "move it"),
        ("- branch:\n    - when: steps.hi.outcome == 'sent'\n      steps: []", (5, 21),
         "no step has the id `hi`", ""),
        ("- branch:\n    - when: |\n        profile.x ==\n        && 5\n      steps: []", (7, 11),
         "`&&`", ""),
        ("- split: [{variant: a, weight: 0, steps: []}]", (4, 5), "no positive weight", "above 0"),
        ("- split: [{variant: a, weight: -1, steps: []}]", (4, 34), "the least is 0", ""),
        ("- split: [{variant: a, weight: nan, steps: []}]", (4, 34), "no number", ""),
        ("- split: [{variant: a, weight: 1, steps: []}, {variant: a, weight: 1, steps: []}]",
         (4, 59), "twice", ""),
        ("- split: [{variant: a, steps: []}]", (4, 13), "`weight` is missing", ""),
        ("- wait_until: {}", (4, 17), "needs a `time`", ""),
        ("- wait_until: {time: '9:60'}", (4, 24), "no time of day", ""),
        ("- wait_until: {time: '09:00', weekdays: [monday]}", (4, 44), "not one of", "`mon`"),
        ("- wait_until: {date: profile.x, weekdays: [mon]}", (4, 17), "belong to a `time`", ""),
        ("- wait_until: {time: '09:00', offset: 1d}", (4, 17), "belong to a `date`", ""),
        ("- wait_for: {timeout: 1d}", (4, 15), "either `event` or `any`", ""),
        ("- wait_for: {event: A}", (4, 15), "`timeout` is missing", ""),
        ("- wait_for: {event: A, any: [{event: B}], timeout: 1d}", (4, 15), "either", ""),
        ("- set: {tier: gold}", (4, 5), "`tier` is none", "`profile.tier`"),
        ("- set: {}", (4, 10), "at least one", ""),
        ("- call: shop.example", (4, 11), "no address", ""),
        ("- call: https://", (4, 11), "no address", ""),
        ("- call: https://shop.example:x/", (4, 11), "no address", ""),
        ("- call: https://me:secret@shop.example/", (4, 11), "do not stand in a file", ""),
        ("- call: https://shop.example/\n  timeout: 21s", (4, 5), "between 1s and 20s", ""),
        ("- call: https://shop.example/\n  timeout: 0s", (4, 5), "between 1s and 20s", ""),
        ("- call: https://shop.example/\n  with: {a: event.x}", (5, 15), "`event`", ""),
        (_CALLED % "outcome == 'unknown'", (5, 40), "never `unknown`", ""),
        (_CALLED % "reason == 'no_consent'", (5, 39), "never", ""),
        ("- repeat: {times: 0, steps: [{wait: 1h}]}", (4, 21), "the least is 1", ""),
        ("- repeat: {times: 2, steps: []}", (4, 31), "at least one", ""),
        ("- exit:", (4, 10), "no value", ""),
    ],
)  # fmt: skip
def test_a_step_that_is_none_is_refused(
    steps: str, place: tuple[int, int], message: str, hint: str
) -> None:
    found = problems_of(journey(steps))
    assert place in places(found), [problem.render() for problem in found]
    problem = next(p for p in found if (p.line, p.column) == place and message in p.message)
    assert hint in problem.hint


def test_all_problems_of_a_file_come_in_one_go_and_in_order() -> None:
    found = problems_of(
        """\
        journey: Not Kebab
        titel: x
        trigger: {evnt: A}
        entry: {where: user.x == 1, max_age: soon}
        exit:
          - event: A
            where: event.x = 1
        steps:
          - wait: never
            id: w
          - sned: email
          - send: carrier-pigeon
            template: helo
          - branch:
              - when: steps.w.outcome == 'x' && 1
                steps:
                  - send: alimtalk
                    template: hello
                    else: nothing
        """
    )
    assert places(found) == [
        (1, 10),
        (2, 1),
        (3, 11),
        (4, 16),
        (4, 38),
        (7, 20),
        (9, 11),
        (11, 5),
        (12, 11),
        (13, 15),
        (15, 38),
        (17, 19),
        (19, 19),
    ]


def test_a_step_that_was_refused_keeps_its_name_for_the_others() -> None:
    found = problems_of(
        journey(
            """\
            - send: email
              id: hi
            - branch:
                - when: steps.hi.outcome == "sent"
                  steps: []
            """
        )
    )
    assert places(found) == [(4, 5)]


def test_alimtalk_may_carry_what_is_no_advertising() -> None:
    steps = "- {send: alimtalk, template: hello}"
    assert problems_of(journey(steps, top="category: transactional\n")) == []


def test_a_condition_cut_off_by_yaml_gets_a_hint() -> None:
    cut = only(problems_of(journey("- wait: 1h", top='entry:\n  where: event.x == "a #b"\n')))
    assert (cut.line, cut.column) == (4, 21)
    assert "begins a comment" in cut.hint
    where = 'count("A", within="30d") > 1'
    found = problems_of(journey("- wait: 1h", top=f"exit: [{{event: A, where: {where}}}]\n"))
    assert "needs quotes" in found[0].hint or "needs quotes" in found[1].hint
    found = problems_of(journey("- wait: 1h", top="exit: [{event: A, where: event.x in [1]}]\n"))
    assert "needs quotes" in only(found).hint


def test_a_condition_is_taken_as_written_whatever_yaml_makes_of_it() -> None:
    assert problems_of(journey("- wait: 1h", top="entry: {where: true}\n")) == []
    assert problems_of(journey("- wait: 1h", top="exit: [{event: no, where: true}]\n")) == []


def test_a_journey_of_the_same_id_in_two_files_is_refused() -> None:
    one = journey("- wait: 1h")
    found = load({"journeys/a.yaml": one, "journeys/b.yaml": one}).problems
    assert [p.place for p in found] == ["journeys/b.yaml:1:10"]
    assert "also in journeys/a.yaml" in found[0].message


def test_steps_repeated_by_an_alias_need_ids_of_their_own() -> None:
    source = dedent(
        """\
        journey: j
        trigger: {event: A}
        steps:
          - branch:
              - when: profile.x
                steps: &same
                  - {send: email, template: hello, id: hi}
              - otherwise: *same
        """
    )
    found = only(problems_of(source))
    assert found.code == "duplicate_id"


def test_the_schema_for_editors_knows_all_fields() -> None:
    schema = journey_schema()
    json.dumps(schema)
    assert set(schema["properties"]) == {
        *("journey", "title", "stage", "category", "priority", "trigger"),
        *("entry", "exit", "goal", "steps", "tests"),
    }
    assert schema["required"] == ["journey", "trigger", "steps"]
    assert schema["additionalProperties"] is False
    send = schema["definitions"]["Send"]
    assert set(send["properties"]) == {"id", "send", "template", "else", "with"}
    assert schema["definitions"]["Wait"]["properties"]["wait"]["type"] == "string"
