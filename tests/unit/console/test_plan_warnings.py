"""What a plan warns of: reached twice, a step gone, rules loosened, advertising as information."""

from textwrap import dedent, indent

import pytest

from services.console.changes import InFlight, JourneyChange
from services.console.plan_warnings import with_warnings
from services.console.policy_warnings import policy_warnings
from services.console.prospects import FlowOf, with_prospects
from services.journey.core.flow import Flow
from services.journey.language.compile import compile_journey
from shared.workspace import WorkspaceSettings

OLD = """\
journey: j
trigger: {event: Bought, where: event.total > 1}
entry: {key: event.order, reentry: 30d}
steps:
  - send: email
    template: hello
    id: first
  - wait: 1d
    id: pause
  - send: sms
    template: again
    id: second
"""


def flow(source: str, version: int) -> Flow:
    return compile_journey(source, version)


def stored(*sources: str) -> FlowOf:
    flows = {number: flow(source, number) for number, source in enumerate(sources, 1)}
    return flows.get


def warnings(new: str, *runs: InFlight, old: str = OLD) -> list[str]:
    """Of a change of `j` from version 1 to 2."""
    flow_of, after = stored(old, new), flow(new, 2)
    change = JourneyChange("j", "changed", "journeys/j.yaml", 2, 1, True)
    change = with_prospects(change, runs, flow_of, after, concerned=True)
    (change,) = with_warnings([change], lambda _: flow_of, {"j": after})
    return list(change.warnings)


def only(found: list[str]) -> str:
    (one,) = found
    return one


def test_what_changes_nothing_of_this_warns_of_nothing() -> None:
    assert warnings(OLD.replace("1d", "2d"), InFlight(1, "pause", 5)) == []


# Reached twice -------------------------------------------------------------------------------


def test_another_trigger_reaches_those_who_may_enter_always() -> None:
    other = OLD.replace("total > 1", "total > 2")
    assert warnings(other) == []  # 30 days keep them out
    always = OLD.replace(", reentry: 30d", "")
    said = only(warnings(other.replace(", reentry: 30d", ""), old=always))
    assert said.startswith("its trigger is another one and `reentry` is `always`")


def test_another_key_forgets_who_was_in_it() -> None:
    said = only(warnings(OLD.replace("event.order", "event.cart")))
    assert "(event.order becomes event.cart)" in said
    assert "(event.order becomes none)" in only(warnings(OLD.replace("key: event.order, ", "")))


@pytest.mark.parametrize(
    ("reentry", "said"),
    [("7d", "is 7d and was 30d"), ("always", "is always and was 30d"), ("31d", ""), ("never", "")],
)
def test_a_looser_reentry_lets_them_in_again(reentry: str, said: str) -> None:
    found = warnings(OLD.replace("30d", reentry))
    assert (said in only(found)) if said else found == []


def test_a_renamed_journey_is_another_one() -> None:
    new = flow(OLD.replace("journey: j", "journey: k"), 1)
    gone = JourneyChange("j", "removed", "", None, 1, False, in_flight=(InFlight(1, "pause", 3),))
    come = JourneyChange("k", "added", "journeys/k.yaml", 1, None, True)
    old = stored(OLD)
    found = with_warnings([gone, come], lambda _: old, {"k": new})
    assert found[0].warnings == ()
    said = only(list(found[1].warnings))
    assert said.startswith("it starts as `j` did, which goes")
    assert "its 3 runs in flight go on" in said
    other = flow(OLD.replace("journey: j", "journey: k").replace("Bought", "Left"), 1)
    assert with_warnings([gone, come], lambda _: old, {"k": other})[1].warnings == ()


@pytest.mark.parametrize(
    ("trigger", "other"),
    [
        ("{segment: a, on: enter}", "{segment: a, on: exit}"),
        ('{schedule: "0 9 * * mon", segment: a}', '{schedule: "0 9 * * tue", segment: a}'),
        ("{date: profile.birthday, every: year}", "{date: profile.birthday}"),
        ("{event: Back, audience: profile.a == 1}", "{event: Back, audience: profile.a == 2}"),
    ],
)  # fmt: skip
def test_triggers_of_every_kind_are_compared(trigger: str, other: str) -> None:
    def source(name: str, by: str) -> str:
        return f"journey: {name}\ntrigger: {by}\nsteps: [{{exit: x}}]\n"

    gone = JourneyChange("j", "removed", "", None, 1, False)
    come = JourneyChange("k", "added", "journeys/k.yaml", 1, None, True)
    old = stored(source("j", trigger))
    for by, count in ((trigger, 1), (other, 0)):
        found = with_warnings([gone, come], lambda _: old, {"k": flow(source("k", by), 1)})
        assert len(found[1].warnings) == count


# Runs in flight ------------------------------------------------------------------------------


def test_runs_whose_step_is_gone_are_told_of() -> None:
    said = only(warnings(OLD.replace("id: pause", "id: rest"), InFlight(1, "pause", 5)))
    assert said.startswith("5 runs of version 1 wait at `pause`, which is gone")
    assert warnings(OLD.replace("id: pause", "id: rest")) == []  # nobody waits there


def test_a_message_moved_behind_those_who_have_had_it_comes_again() -> None:
    steps = OLD.partition("steps:\n")[2]
    moved = OLD + indent(dedent(steps).split("- wait")[0], "  ").replace("first", "last")
    said = only(warnings(moved, InFlight(1, "pause", 1)))
    assert said.startswith("1 run of version 1 waits at `pause` and may have had the template")
    assert "`hello`" in said
    assert "`last` sends behind it now" in said
    assert warnings(moved) == []


def test_a_loop_that_sends_anyway_is_no_surprise() -> None:
    loop = """\
    journey: j
    trigger: {event: Bought}
    steps:
      - repeat:
          times: 3
          steps:
            - {send: email, template: hello, id: first}
            - {wait: WAIT, id: pause}
        id: loop
    """
    old, new = (dedent(loop).replace("WAIT", wait) for wait in ("1d", "2d"))
    assert warnings(new, InFlight(1, "pause", 5), old=old) == []


# Advertising and information -----------------------------------------------------------------


def test_category_and_alimtalk_are_told_of() -> None:
    informs = OLD.replace("trigger:", "category: transactional\ntrigger:")
    assert only(warnings(informs)).startswith("advertising becomes information")
    assert only(warnings(OLD, old=informs)).startswith("information becomes advertising")
    kakao = informs.replace("send: email", "send: alimtalk")
    said = only(warnings(kakao, old=informs))
    assert said.startswith("`first` goes by alimtalk and went by email")
    assert len(warnings(informs, old=kakao)) == 1


# Policies ------------------------------------------------------------------------------------


def settings(**policies: object) -> WorkspaceSettings:
    return WorkspaceSettings.model_validate({"policies": policies})


CAP = {"category": "marketing", "limit": 2, "per": "24h"}
NIGHT = {"category": "marketing", "from": "21:00", "to": "08:00"}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"consent": "required"}, {"consent": "assumed"}, "consent is assumed and was required"),
        ({"consent": "assumed"}, {"consent": "required"}, ""),
        ({"packs": ["kr-marketing"]}, {}, "the pack kr-marketing is left out"),
        ({}, {"packs": ["kr-marketing"]}, ""),
        ({"frequency_caps": [CAP]}, {}, "cap for marketing messages (2 per 1d) is left out"),
        ({"frequency_caps": [CAP]}, {"frequency_caps": [{**CAP, "limit": 3}]},
         "is looser: 2 per 1d becomes 3 per 1d"),
        ({"frequency_caps": [CAP]}, {"frequency_caps": [{**CAP, "per": "12h"}]},
         "is looser: 2 per 1d becomes 2 per 12h"),
        ({"frequency_caps": [CAP]}, {"frequency_caps": [{**CAP, "limit": 1}]}, ""),
        ({"frequency_caps": [CAP]}, {"frequency_caps": [{"limit": 2, "per": "24h"}]}, ""),
        ({"frequency_caps": [CAP]}, {"frequency_caps": [{**CAP, "channels": ["sms"]}]}, "left out"),
        ({"quiet_hours": [NIGHT]}, {}, "for marketing messages (21:00 to 08:00) are"),
        ({"quiet_hours": [NIGHT]}, {"quiet_hours": [{**NIGHT, "to": "07:00"}]},
         "are shorter: 21:00 to 08:00 becomes 21:00 to 07:00"),
        ({"quiet_hours": [NIGHT]}, {"quiet_hours": [{**NIGHT, "from": "20:50"}]}, ""),
        ({"quiet_hours": [NIGHT]},
         {"quiet_hours": [{**NIGHT, "to": "00:00"}, {**NIGHT, "from": "00:00"}]}, ""),
        ({"quiet_hours": [NIGHT]}, {"quiet_hours": [NIGHT, {"channels": ["email"], "never": True}]},
         "quiet hours no longer hold for all messages by email"),
    ],
)  # fmt: skip
def test_rules_that_hold_less_are_told_of(
    before: dict[str, object], after: dict[str, object], said: str
) -> None:
    found = list(policy_warnings(settings(**before), settings(**after)))
    assert (said in only(found)) if said else found == []


def test_a_smaller_holdout_and_a_real_channel_are_told_of() -> None:
    before = {"holdout": "10%", "channels": {"email": {"adapter": "log"}}}
    after = {"holdout": "5%", "channels": {"email": {"adapter": "smtp"}}}
    old, new = map(WorkspaceSettings.model_validate, (before, after))
    assert [said[:40] for said in policy_warnings(old, new)] == [
        "the holdout of all customers is 5% and w",
        "messages by email leave the house from n",
    ]
    assert policy_warnings(new, new) == ()
