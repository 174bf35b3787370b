"""Each thing for which the language's page says that a workspace is refused, told in its place."""

import pytest

from tests.unit.language.sayings import load

JOURNEY = """\
journey: cart
trigger: {event: Added}
steps:
  - wait: 1h
"""
EXPLODING = "a0: &a0 [1, 1]\n" + "".join(
    f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 30)
)
SETTINGS = "channels:\n  email: {adapter: log}\n"


@pytest.mark.parametrize(
    ("files", "place", "message", "hint"),
    [
        ({"journeys/a.yaml": "journey: [cart\n"}, "journeys/a.yaml:1", "", ""),
        ({"journeys/a.yaml": JOURNEY + "\t- exit: x\n"}, "journeys/a.yaml:5:1", "tab", "spaces"),
        (
            {"journeys/a.yaml": JOURNEY + "prioritty: 5\n"},
            "journeys/a.yaml:5:1",
            "prioritty",
            "priority",
        ),
        (
            {
                "journeys/a.yaml": JOURNEY.replace(
                    "{event: Added}", "{event: A, where: in_segment('vpi')}"
                ),
                "segments/vip.yaml": "segment: vip\nwhere: profile.x == 1\n",
            },
            "journeys/a.yaml:2",
            "no segment `vpi`",
            "vip",
        ),
        (
            {"journeys/a.yaml": JOURNEY + "  - {send: email, template: helo}\n"},
            "journeys/a.yaml:5",
            "helo",
            "hello",
        ),
        (
            {"journeys/a.yaml": JOURNEY + "  - {send: emial, template: hello}\n"},
            "journeys/a.yaml:5",
            "emial",
            "email",
        ),
        ({"dangol.yaml": "channels:\n  email: {adapter: smpt}\n"}, "dangol.yaml:2", "smpt", "smtp"),
        (
            {"dangol.yaml": SETTINGS + "policies: {packs: [kr-marketting]}\n"},
            "dangol.yaml:3",
            "kr-marketting",
            "kr-marketing",
        ),
        (
            {"journeys/a.yaml": JOURNEY + "exit: [{event: B, where: cuont('A') > 1}]\n"},
            "journeys/a.yaml:5",
            "cuont",
            "count",
        ),
        (
            {"journeys/a.yaml": JOURNEY + "exit: [{event: B, where: evnt.x == 1}]\n"},
            "journeys/a.yaml:5",
            "evnt",
            "event",
        ),
        (
            {"journeys/a.yaml": JOURNEY + "journey: other\n"},
            "journeys/a.yaml:5:1",
            "twice",
            "leave one",
        ),
        (
            {"journeys/a.yaml": JOURNEY + "    id: same\n  - {exit: x, id: same}\n"},
            "journeys/a.yaml:6",
            "same",
            "",
        ),
        (
            {"journeys/a.yaml": JOURNEY.replace("  - wait: 1h\n", "  []\n")},
            "journeys/a.yaml:4",
            "at least one",
            "",
        ),
        (
            {"journeys/a.yaml": JOURNEY + "  - split: [{variant: a, weight: 0, steps: []}]\n"},
            "journeys/a.yaml:5",
            "weight",
            "",
        ),
        (
            {"journeys/a.yaml": JOURNEY.replace("1h", "1 hour")},
            "journeys/a.yaml:4:11",
            "1 hour",
            "1h30m",
        ),
        (
            {"journeys/a.yaml": JOURNEY.replace("1h", "1:30")},
            "journeys/a.yaml:4:11",
            "1:30",
            "1h30m",
        ),
        (
            {
                "segments/a.yaml": "segment: a\nwhere: in_segment('b')\n",
                "segments/b.yaml": "segment: b\nwhere: in_segment('a')\n",
            },
            "segments/a.yaml:2",
            "circle",
            "take one",
        ),
        (
            {"journeys/a.yaml": JOURNEY + "exit: [{event: B, where: event.name > 5}]\n"},
            "journeys/a.yaml:5",
            "compared",
            "",
        ),
        (
            {"journeys/a.yaml": JOURNEY + "exit: [{event: B, where: profile.__class__}]\n"},
            "journeys/a.yaml:5",
            "begin with `__`",
            "",
        ),
        (
            {
                "journeys/a.yaml": JOURNEY
                + "exit: [{event: B, where: 'matches(event.x, \"(?=a)\")'}]\n"
            },
            "journeys/a.yaml:5",
            "pattern",
            "RE2",
        ),
        ({"journeys/a.yaml": EXPLODING}, "journeys/a.yaml:", "parts", "split"),
    ],
)
def test_it_is_refused_in_its_place_with_a_way_out(
    files: dict[str, str], place: str, message: str, hint: str
) -> None:
    problems = load(files).problems
    assert problems
    found = next((p for p in problems if p.place.startswith(place) and message in p.message), None)
    assert found is not None, [(p.place, p.message, p.hint) for p in problems]
    assert hint in found.hint + found.message, found.hint


PYTHON = [
    "lambda: 1",
    "[x for x in event.list]",
    "().__class__.__bases__[0]",
    "__import__('os').system('true')",
    "event.x.__class__",
    "f'{event.x}'",
    "event.x if event.y else 1",
    "(event.x := 5)",
    "exec('1')",
    "globals()",
    "getattr(event, 'x')",
    "event['__class__'].x",
    "event.x ** 9 ** 9 ** 9",
    "'a' * 999999999",
    "9" * 400,
    "(" * 3_000 + ")" * 3_000,
    "not " * 900 + "true",
    "[" * 60 + "]" * 60,
    "event.x; event.y",
    "event.x\\\n== 1",
    "*event.x",
    "b'x' == event.x",
    "0x10 == event.x",
    "1_000 == event.x",
    "...",
    "yield event.x",
    "event.x @ event.y",
    "~event.x",
    "event.x[0:1]",
    "{'a': 1}",
    "print(event.x)",
    'matches(event.x, "' + "(a{1000}){1000}" + '")',
]


@pytest.mark.parametrize("text", PYTHON)
def test_no_trick_of_python_s_is_a_condition(text: str) -> None:
    block = "\n".join(f"        {line}" for line in text.split("\n"))
    journey = f"{JOURNEY}exit:\n  - event: B\n    where: |\n{block}\n"
    problems = load({"journeys/a.yaml": journey}).problems
    assert problems
    assert all(p.place.startswith("journeys/a.yaml:") and p.message for p in problems)
