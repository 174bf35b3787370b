"""How a problem is shown: place, line, caret, hint."""

import pytest

from services.journey.language.problems import NOWHERE, Problem, Problems, Source, Spot, nearest


def found(text: str, *spots: Spot, message: str = "wrong", hint: str = "") -> list[Problem]:
    problems = Problems(Source.of("journeys/a.yaml", text))
    for spot in spots:
        problems.add(spot, message, hint)
    return problems.found


def test_a_problem_is_shown_with_its_line_a_caret_and_a_hint() -> None:
    (problem,) = found("a: 1\nwait: 1 fortnight\n", Spot(2, 7, 11), hint="write 14d")
    assert problem.render() == (
        "journeys/a.yaml:2:7: wrong\n"
        "    wait: 1 fortnight\n"
        "          ^^^^^^^^^^^\n"
        "    hint: write 14d"
    )


@pytest.mark.parametrize(
    ("line", "column", "caret"),
    [
        ("title: 장바구니 x", 8, "       ^^"),
        ("장바구니: x", 7, "          ^"),
        ("\ta: x", 2, "\t^"),
        ("e\u0301: x", 5, "   ^"),
        ("ab", 3, "  ^"),
    ],
)
def test_the_caret_stands_under_the_spot(line: str, column: int, caret: str) -> None:
    (problem,) = found(line, Spot(1, column))
    assert problem.render().split("\n")[2] == "    " + caret


def test_a_wide_spot_has_a_wide_underline() -> None:
    (problem,) = found("a: 장바", Spot(1, 4, 2))
    assert problem.render().endswith("       ^^^^")


def test_an_empty_line_is_not_quoted() -> None:
    (problem,) = found("", Spot(1, 1))
    assert problem.render() == "journeys/a.yaml:1:1: wrong"


def test_only_the_surroundings_of_a_spot_in_a_long_line_are_quoted() -> None:
    (problem,) = found("x" * 5_000 + "!" + "y" * 5_000, Spot(1, 5_001, 9_000))
    assert problem.column == 5_001
    assert len(problem.source_line) == 160
    quoted, caret = problem.render().split("\n")[1:3]
    assert quoted[caret.index("^")] == "!"


def test_what_a_terminal_would_obey_is_not_shown() -> None:
    (problem,) = found("a: \x1b[31mred", Spot(1, 1))
    assert "\x1b" not in problem.render()


def test_a_spot_past_the_end_is_moved_to_it() -> None:
    (problem,) = found("ab", Spot(9, 9))
    assert (problem.line, problem.column) == (1, 3)


def test_what_has_no_place_makes_no_problem() -> None:
    assert found("ab", NOWHERE) == []


def test_problems_sort_by_file_line_and_column() -> None:
    first, second = found("ab\ncd", Spot(2, 1), Spot(1, 2))
    assert sorted([first, second]) == [second, first]


def test_the_nearest_names_are_proposed() -> None:
    assert nearest("evnt", ["event", "profile"]) == "did you mean `event`?"
    assert nearest("EVENT", ["event", "profile"]) == "did you mean `event`?"
    assert nearest("xyz", ["event", "profile"]) == "there is `event`, `profile`"
    assert nearest("xyz", []) == ""
    assert nearest("xyz", [f"name-{i}" for i in range(100)]) == ""
