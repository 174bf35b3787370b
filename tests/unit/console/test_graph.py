"""A journey's picture: everything is in it, and nothing stands on anything else."""

import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from services.console.graph import Counts, chart_of, to_mermaid, to_svg
from services.console.graph.wording import Names
from services.console.words import Language
from services.journey.core.flow import Flow
from services.journey.language.compile import compile_journey

SVG = "{http://www.w3.org/2000/svg}"
HEAD = """journey: drawn
title: 담은 <b>"것" & 더
trigger: {event: Product Added, where: event.price >= 10000}
steps:
"""
ALL_KINDS = f"""{HEAD}
  - wait: 1h
  - wait_until: {{time: "09:00", weekdays: [mon, fri]}}
  - wait_until: {{date: profile.expires_at, offset: -3d, time: "10:00"}}
  - repeat: {{times: 3, every: 1d, until: profile.done == true, steps: [{{emit: Nudged}}]}}
    id: rounds
  - wait_for: {{event: Order Completed, timeout: 2d}}
    then: [{{set: {{profile.tier: gold}}}}]
    timed_out:
      - split:
          - {{variant: a, weight: 70, steps: [{{send: email, else: sms, template: x, id: mail}}]}}
          - {{variant: b, weight: 30, steps: []}}
  - branch:
      - when: profile.a == "x < y"
        steps: [{{exit: one}}]
      - otherwise: [{{exit: two}}]
"""


def flow_of(source: str) -> Flow:
    return compile_journey(source, 1)


def svg(flow: Flow, language: Language = "en", counts: dict[str, Counts] | None = None) -> str:
    return to_svg(chart_of(flow, language, counts), Names.of(language))


def mermaid(flow: Flow, language: Language = "en") -> str:
    return to_mermaid(chart_of(flow, language), Names.of(language))


def boxes(text: str) -> list[tuple[float, float, float, float]]:
    """left, top, right, bottom of every box, and of the whole picture as the first."""
    root = ElementTree.fromstring(text)
    found = [(0.0, 0.0, float(root.attrib["width"]), float(root.attrib["height"]))]
    for box in root.iter(f"{SVG}rect"):
        if box.attrib["class"] == "box":
            x, y, width, height = (float(box.attrib[n]) for n in ("x", "y", "width", "height"))
            found.append((x, y, x + width, y + height))
    return found


def test_every_step_is_in_the_picture_with_its_whole_text() -> None:
    flow = flow_of(ALL_KINDS)
    root = ElementTree.fromstring(svg(flow))
    drawn = {group.attrib["data-step"] for group in root.iter(f"{SVG}g")}
    assert drawn == {*flow.steps, "start"}  # no end: every way leaves by itself
    text = " ".join(root.itertext())
    for words in ('profile.a == "x < y"', "a · 70%", "Send email → sms", "Mon Fri 09:00"):
        assert words in text
    assert root.findtext(f"{SVG}title") == flow.title


def test_counts_stand_in_the_boxes() -> None:
    flow = flow_of(ALL_KINDS)
    text = svg(flow, "en", {"mail": Counts(1234, 7)})
    assert "reached 1,234 · here now 7" in text
    assert "here now" not in svg(flow, "en", {"mail": Counts(1234)})
    assert "reached" not in svg(flow)


def test_the_words_are_korean_where_korean_is_asked_for() -> None:
    assert "최대 2d" in svg(flow_of(ALL_KINDS), "ko")
    assert "대기 1h" in mermaid(flow_of(ALL_KINDS), "ko")


def test_mermaid_has_an_arrow_for_every_way() -> None:
    text = mermaid(
        flow_of(f"{HEAD}  - branch: [{{when: profile.a == 1, steps: [{{wait: 1h}}]}}]\n")
    )
    arrows = re.findall(r"^  (n\d+) -->(?:\|\"(.*)\"\|)? (n\d+)$", text, re.MULTILINE)
    assert arrows == [
        ("n0", "", "n1"),
        ("n1", "profile.a == 1", "n2"),
        ("n2", "", "n3"),
        ("n1", "none of these", "n3"),
    ]


def test_a_loop_leads_back_to_its_head() -> None:
    text = mermaid(flow_of(f"{HEAD}  - repeat: {{times: 2, steps: [{{wait: 1h}}]}}\n"))
    assert 'n2 -->|"again"| n1' in text
    assert "n1 --> n3" in text


def steps(depth: int) -> st.SearchStrategy[list[str]]:
    """Lines of a list of steps, nested up to `depth`."""
    leaf = st.sampled_from(["{wait: 1h}", "{send: email, template: x}", "{exit: out}", "{emit: E}"])
    if depth == 0:
        return st.lists(leaf, max_size=3)
    inner = steps(depth - 1).map(lambda items: f"[{', '.join(items)}]")
    some = steps(depth - 1).map(lambda items: f"[{', '.join(items or ['{wait: 1m}'])}]")
    fork = st.lists(inner, min_size=1, max_size=3).map(
        lambda arms: (
            "{branch: ["
            + ", ".join(f"{{when: profile.n == {n}, steps: {arm}}}" for n, arm in enumerate(arms))
            + "]}"
        )
    )
    loop = some.map(lambda body: f"{{repeat: {{times: 2, steps: {body}}}}}")
    return st.lists(st.one_of(leaf, fork, loop), max_size=3)


@given(steps(3))
def test_no_box_stands_on_another_or_outside(items: list[str]) -> None:
    flow = flow_of(f"{HEAD}  - {{wait: 1s}}\n" + "".join(f"  - {item}\n" for item in items))
    whole, *found = boxes(svg(flow, "en", {}))
    for number, (left, top, right, bottom) in enumerate(found):
        assert left >= 0
        assert top >= 0
        assert right <= whole[2]
        assert bottom <= whole[3]
        for other in found[:number]:
            apart = right <= other[0] or left >= other[2] or bottom <= other[1] or top >= other[3]
            assert apart, "two boxes overlap"
