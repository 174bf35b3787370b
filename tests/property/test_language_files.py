"""Whatever bytes a workspace's files hold, loading them ends in flows or in problems in place."""

from collections.abc import Mapping
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.journey.language.problems import Problem, Problems
from services.journey.language.reading import decode, read_tree
from services.journey.language.tree import Node, Scalar, data
from services.journey.language.workspace import Workspace, load_workspace
from shared.templates import (
    TemplateFailed,
    TemplateInvalid,
    TemplateProblem,
    parse_template,
    render,
)

SETTINGS = b"timezone: UTC\nchannels:\n  email: {adapter: log}\n  sms: {adapter: log}\n"
EMAIL = b'---\nsubject: "Hi {{ profile.name }}"\n---\n<p>{% if a %}b{% endif %}</p>\n'
JOURNEY = b"""\
journey: cart
title: "\xec\x9e\xa5\xeb\xb0\x94\xea\xb5\xac\xeb\x8b\x88"
trigger:
  event: Product Added
  where: event.price >= 10000 and any(p.sku == "A1" for p in event.products)
entry: {key: event.cart_id, reentry: 3d, holdout: 10%}
exit:
  - event: Order Completed
    where: event.cart_id == trigger.cart_id
goal: {event: Order Completed, within: 3d, value: event.total}
steps:
  - wait: 1h
  - &send
    send: email
    else: sms
    template: hello
    id: hi
    with: {price: trigger.price}
  - branch:
      - when: >
          steps.hi.outcome == "sent"
            and profile.tier in ["gold"]
        steps: [{exit: done}]
      - otherwise:
          - wait_for: {any: [{event: A}], timeout: 1d}
            then: [{split: [{variant: a, weight: 1, steps: []}]}]
  - repeat: {times: 2, steps: [{set: {profile.x: 1}}]}
tests: []
"""
PIECES = (
    *(
        b"\n",
        b"  ",
        b"\t",
        b"- ",
        b": ",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b'"',
        b"'",
        b"#",
        b"&a ",
        b"*a",
    ),
    *(b"!x ", b"|\n", b">\n", b"---\n", b"? ", b"<<: ", b"%", b"\x00", b"\xff", b"\xef\xbb\xbf"),
    *(b"null", b"true", b"steps:\n", b"id: hi\n", b"when: ", b"event.x == ", b"wait: "),
    b"send: email\n",
)


def _loaded(files: Mapping[str, bytes]) -> Workspace:
    loaded = load_workspace(files)
    for problem in loaded.problems:
        _well_formed(problem, files)
    return loaded


def _well_formed(problem: Problem, files: Mapping[str, bytes]) -> None:
    assert problem.message
    assert problem.line >= 1
    assert problem.column >= 1
    assert problem.render().startswith(f"{problem.file}:{problem.line}:{problem.column}: ")
    lines = files.get(problem.file, b"").count(b"\n") + files.get(problem.file, b"").count(b"\r")
    assert problem.line <= lines + 1


@given(st.binary(max_size=300) | st.lists(st.sampled_from(PIECES), max_size=60).map(b"".join))
@example(b"a: *")
@example(b"\xe2\x80\xa8: x")
@example(b"a: |2\n x")
@example(b"&a : &a *a")
@example(b"'\\")
@settings(max_examples=300)
def test_any_bytes_are_a_tree_or_problems(content: bytes) -> None:
    found: list[Problem] = []
    source = decode("a.yaml", content, found)
    tree = None if source is None else read_tree(Problems(source, found))
    if tree is None:
        assert found
    else:
        data(tree)
        _walk(tree)
    for problem in found:
        _well_formed(problem, {"a.yaml": content})


def _walk(node: Node) -> None:
    if isinstance(node, Scalar):
        spot = node.spot_of(max(len(node.text) - 1, 0), len(node.text))
        assert spot.line >= 1
        assert spot.column >= 1
    elif isinstance(node, dict):
        for value in node.values():
            _walk(value)
    else:
        for item in node:
            _walk(item)


MUTATIONS = st.lists(
    st.tuples(
        st.integers(0, len(JOURNEY)),
        st.integers(0, 12),
        st.sampled_from(PIECES) | st.binary(max_size=4),
    ),
    min_size=1,
    max_size=4,
)


@given(MUTATIONS)
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_a_journey_with_any_change_is_a_flow_or_problems(
    changes: list[tuple[int, int, bytes]],
) -> None:
    content = JOURNEY
    for place, cut, piece in changes:
        content = content[:place] + piece + content[place + cut :]
    files = {
        "dangol.yaml": SETTINGS,
        "templates/hello/email.liquid": EMAIL,
        "journeys/a.yaml": content,
    }
    loaded = _loaded(files)
    assert bool(loaded.flows) is not any(
        problem.file == "journeys/a.yaml" for problem in loaded.problems
    )


@given(
    st.dictionaries(
        st.sampled_from(
            [
                *("dangol.yaml", "journeys/a.yaml", "segments/a.yaml", "tests/a.yaml"),
                *("templates/hello/email.liquid", "templates/hello/sms.ko.liquid"),
            ]
        ),
        st.sampled_from([SETTINGS, EMAIL, JOURNEY, b"segment: a\nwhere: in_segment('a')\n"])
        | st.binary(max_size=60),
    )
)
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_any_files_are_a_workspace_or_problems(files: dict[str, bytes]) -> None:
    loaded = _loaded(files)
    assert loaded.problems or "dangol.yaml" in files


LIQUID_WORDS = """
{{ }} {% %} {%- -%} | . : , if endif for in endfor assign capture endcapture case when else profile
name x 5 'a' == > and (1..3) upcase default: date: replace: size [0] ---
"""
LIQUID = st.lists(st.sampled_from([*LIQUID_WORDS.split(), "\n"]), max_size=40).map(" ".join)


@given(st.text(max_size=100) | LIQUID, st.sampled_from(["email", "sms"]))
def test_any_text_is_a_template_or_problems(body: str, channel: str) -> None:
    source = f"---\nsubject: x\n---\n{body}" if channel == "email" else body
    problems: tuple[TemplateProblem, ...] = ()
    with suppress(TemplateFailed):
        try:
            template = parse_template(f"templates/a/{channel}.liquid", source)
            render(template, {"profile": {"name": "<b>"}, "x": [1, "a", None]})
        except TemplateInvalid as invalid:
            problems = invalid.problems
    lines = source.count("\n") + 1
    assert all(1 <= problem.line <= lines and problem.column >= 1 for problem in problems)


@pytest.mark.parametrize("piece", PIECES)
def test_a_change_at_every_place_is_survived(piece: bytes) -> None:
    for place in range(0, len(JOURNEY), 31):
        content = JOURNEY[:place] + piece + JOURNEY[place:]
        _loaded({"dangol.yaml": SETTINGS, "journeys/a.yaml": content})
