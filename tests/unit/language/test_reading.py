"""YAML to the located tree: what is text stays text, and every limit is a problem in its place."""

from typing import Any

import pytest

from services.journey.language.problems import Problem, Problems, Spot
from services.journey.language.reading import MOST_BYTES, MOST_DEPTH, decode, read_tree
from services.journey.language.tree import Mapping, Node, Scalar, data, node_at, spot_at
from tests.unit.language.sayings import places


def read(content: str | bytes) -> tuple[Node | None, list[Problem]]:
    found: list[Problem] = []
    source = decode("a.yaml", content.encode() if isinstance(content, str) else content, found)
    return (None if source is None else read_tree(Problems(source, found))), found


def tree(content: str | bytes) -> Node:
    root, found = read(content)
    assert root is not None
    assert not found, found
    return root


def text_at(root: Node, *path: int | str) -> Scalar:
    node = node_at(root, path)
    assert isinstance(node, Scalar)
    return node


@pytest.mark.parametrize("text", ["no", "on", "yes", "1:30", "0o17", "2026-03-02", "~x", "1_000"])
def test_what_yaml_1_1_would_turn_into_something_else_stays_text(text: str) -> None:
    root = tree(f"a: {text}")
    assert text_at(root, "a").text == text
    assert data(root) == {"a": text}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-12", -12),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("'12'", "12"),
        ('"true"', "true"),
        ("1.2.3", "1.2.3"),
        ("12345678901234567890", 12345678901234567890.0),
        (".inf", ".inf"),
        ("0x1F", "0x1F"),
        ("1e999", "1e999"),
    ],
)
def test_data_is_read_by_the_core_schema_without_its_infinities(text: str, value: Any) -> None:
    assert data(tree(f"a: {text}")) == {"a": value}


def test_scalars_know_where_they_stand() -> None:
    root = tree("steps:\n  - wait: 1h\n  - {send: email, \"template\": '단골 인사'}\n")
    assert text_at(root, "steps", 0, "wait").spot == Spot(2, 11, 2)
    assert text_at(root, "steps", 1, "template").spot == Spot(3, 31, 7)
    assert spot_at(root, ("steps", 1, "template"), key=True) == Spot(3, 19, 10)
    assert spot_at(root, ("steps", 1)) == Spot(3, 5, 1)


@pytest.mark.parametrize(
    ("content", "start", "spot"),
    [
        ("a: event.x > 5", 10, (1, 14)),
        ("a: 'it''s > 5'", 5, (1, 11)),
        (r'a: "\"x\" > 5"', 4, (1, 11)),
        (r'a: "\u0041 > 5"', 2, (1, 12)),
        ("a: event.x\n   > 5", 8, (2, 4)),
        ("a: event.x\n\n     and event.y", 12, (3, 10)),
        ("a: |\n  event.x\n  and event.y", 12, (3, 7)),
        ("a: >\n  event.x\n  and event.y", 12, (3, 7)),
        ("a: >-\n\n  event.x\n  and event.y", 13, (4, 7)),
        ("a: 'event.x\n  and event.y'", 12, (2, 7)),
        ("a: 단골 > 5", 5, (1, 9)),
        ("a: event.x >", 9, (1, 13)),
        ("a: 'event.x'", 0, (1, 5)),
        ("a: 'it''s'", 3, (1, 9)),
        (r'a: "\x41bc"', 1, (1, 9)),
        (r'a: "\U00000041bc"', 1, (1, 15)),
        ("a: event.x\n   and\n     b", 12, (3, 6)),
        ("a: |\n  x\n\n  yz", 4, (4, 4)),
        ('a: "x \\\n  yz"', 3, (2, 4)),
    ],
)
def test_a_character_of_a_text_is_found_in_the_file(
    content: str, start: int, spot: tuple[int, int]
) -> None:
    scalar = text_at(tree(content), "a")
    found = scalar.spot_of(start, start + 1)
    assert (found.line, found.column) == spot


def test_a_byte_order_mark_and_windows_line_ends_are_taken() -> None:
    root = tree(b"\xef\xbb\xbfa: on\r\nb: off\r\n")
    assert data(root) == {"a": "on", "b": "off"}
    assert text_at(root, "b").spot == Spot(2, 4, 3)


def test_line_separators_of_other_worlds_move_no_column() -> None:
    root = tree('a: "x\u2028y" # \x85\nb: c')
    assert text_at(root, "b").spot == Spot(2, 4, 1)


def test_an_alias_repeats_what_it_names() -> None:
    assert data(tree("a: &x {b: 1}\nc: *x")) == {"a": {"b": 1}, "c": {"b": 1}}


@pytest.mark.parametrize(
    ("content", "place", "message", "hint"),
    [
        ("", (1, 1), "the file is empty", ""),
        ("# nothing\n", (1, 1), "the file is empty", ""),
        ("a: 1\nb: 2\na: 3", (3, 1), "`a` stands here twice: first in line 1", "leave one"),
        ("{a: 1, a: 2}", (1, 8), "`a` stands here twice", ""),
        ("a: {b: 1", (1, 9), "closing bracket is missing", "`[a, b]`"),
        ("a: [b\nc: d", (2, 2), "closing bracket is missing", ""),
        ("a: b: c", (1, 5), "a `:` stands where no name can", "quotes"),
        ("a:\n\t- x", (2, 1), "a tab", "indent with spaces"),
        ("a:\n  b: 1\n\tc: 2", (3, 1), "a tab", "indent with spaces"),
        ('a: "x\nb: c', (1, 4), "never closed", ""),
        ("a: 'x", (1, 4), "never closed", ""),
        ("a: 'it's'", (1, 8), "does not belong", "quote"),
        ("a: *b", (1, 4), "no anchor `&b`", ""),
        ("a: &b [*b]", (1, 8), "within the part that it repeats", ""),
        ("a: &b {c: *b}", (1, 11), "within the part that it repeats", ""),
        ("? [a]\n: b", (1, 3), "cannot be the name", "quotes"),
        ("{a: 1}: b", (1, 1), "cannot be the name", ""),
        ("a: &x 1\n*x : 2", (2, 1), "an alias cannot be the name", ""),
        (": b", (1, 1), "a name is missing", ""),
        ("<<: {a: 1}", (1, 1), "merge keys", "write the fields out"),
        ("a: !thing x", (1, 4), "tags such as `!thing`", "leave it out"),
        ("a: !!str 5", (1, 4), "tags such as", ""),
        ("a: !!python/object:os.system {}", (1, 4), "tags such as", ""),
        ("a: 1\n---\nb: 2", (2, 1), "a second document", "file of its own"),
        ("%YAML 1.1\n---\na: 1", (1, 1), "directives", ""),
        ("- a\nb: c", (2, 1), "does not belong", "indentation"),
        ("a:\n  b: c\n d: e", (3, 2), "does not belong", "indentation"),
        ("a: - b", (1, 4), "a list (`- `) cannot begin here", "indentation"),
        ("a: @b", (1, 4), "cannot begin with this character", "quotes"),
        ("a: %b", (1, 4), "cannot begin with this character", "quotes"),
        ("a: `b`", (1, 4), "cannot begin with this character", "quotes"),
        (r'a: "\q"', (1, 4), "escape is unknown", "double the backslash"),
        ("a", None, "", ""),
        (b"a: \xff\xfe", (1, 4), "not UTF-8", "UTF-8"),
        (b"a: 1\nb: x\xff", (2, 5), "not UTF-8", "UTF-8"),
        ("a: \x00", (1, 4), "control character (U+0000)", ""),
        ("a: 1\nbb: \x07", (2, 5), "control character (U+0007)", ""),
    ],
)
def test_what_cannot_be_read_is_a_problem_in_its_place(
    content: str | bytes, place: tuple[int, int] | None, message: str, hint: str
) -> None:
    _, found = read(content)
    assert places(found) == ([] if place is None else [place]), found
    if found:
        assert message in found[0].message
        assert hint in found[0].hint


def test_several_twice_written_keys_are_all_told() -> None:
    _, found = read("a: 1\na: 2\nb: {c: 1, c: 2}\na: 3")
    assert places(found) == [(2, 1), (3, 11), (4, 1)]


def test_the_first_of_a_key_written_twice_counts() -> None:
    root, _ = read("a: 1\na: 2")
    assert root is not None
    assert data(root) == {"a": 1}


BILLION_LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)
DEEP_ALIASES = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 200))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BILLION_LAUGHS, "more than 20,000 parts"),
        (DEEP_ALIASES, f"more than {MOST_DEPTH} levels"),
        ("[" * 100_000, f"more than {MOST_DEPTH} levels"),
        ("{a: " * 1_000, f"more than {MOST_DEPTH} levels"),
        ("".join("  " * i + "a:\n" for i in range(300)), f"more than {MOST_DEPTH} levels"),
        ("- " * 10_000, f"more than {MOST_DEPTH} levels"),
        ("a: [" + "x, " * 30_000 + "]", "more than 20,000 parts"),
        ("a: " + "x" * (MOST_BYTES + 1), "larger than 1,000,000 bytes"),
        ("? " * 20_000, ""),
    ],
)
def test_a_file_out_of_all_bounds_is_one_problem_soon(content: str, message: str) -> None:
    _, found = read(content)
    assert len(found) == 1
    assert message in found[0].message


def test_a_literal_of_almost_the_most_bytes_is_read() -> None:
    root = tree("a: |\n" + "  line of text\n" * 60_000)
    assert isinstance(root, Mapping)
    assert len(text_at(root, "a").text) == 13 * 60_000
