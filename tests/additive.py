"""Tells what of a migration the release before could notice while it still runs.

What is known to be harmless is let through; everything else is objected to, and needs a reason.
"""

import re
from collections.abc import Iterator

_NOTE = re.compile(r"--[^\n]*")
_TABLE = re.compile(r"CREATE TABLE (\w+)", re.IGNORECASE)
_INDEX = re.compile(r"CREATE (UNIQUE )?INDEX (CONCURRENTLY )?\w+ ON (\w+)", re.IGNORECASE)
_ALTER = re.compile(r"ALTER TABLE (\w+) (.*)", re.IGNORECASE)
_VOLATILE = re.compile(r"DEFAULT \w*\(|DEFAULT [a-z_]+\(", re.IGNORECASE)


def plain(statement: str) -> str:
    """Without comments, on one line."""
    return " ".join(_NOTE.sub("", statement).split())


def objections(statements: list[str]) -> Iterator[tuple[str, str]]:
    """The statements of one migration that are not plainly additive, each with what is wrong."""
    ours: set[str] = set()
    for statement in map(plain, statements):
        if made := _TABLE.match(statement):
            ours.add(made[1].lower())
            continue
        for what in _objections(statement, ours):
            yield statement, what


def _objections(statement: str, ours: set[str]) -> Iterator[str]:
    if statement.upper().startswith("CREATE FUNCTION"):
        return
    if index := _INDEX.match(statement):
        if index[3].lower() not in ours:
            if index[1]:
                yield "refuses rows that the release before writes"
            if not index[2]:
                yield "keeps everybody from writing while it is built"
        return
    if altered := _ALTER.match(statement):
        if altered[1].lower() not in ours:
            for action in _actions(altered[2]):
                yield from _alteration(action)
        return
    yield "is not known to leave the release before alone"


def _actions(text: str) -> Iterator[str]:
    """Split at the commas outside parentheses."""
    depth, action = 0, ""
    for char in text:
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            yield action.strip()
            action = ""
        else:
            action += char
    yield action.strip()


def _alteration(action: str) -> Iterator[str]:
    said = action.upper()
    if not said.startswith("ADD COLUMN "):
        yield "changes what the release before reads or writes"
        return
    if "NOT NULL" in said and " DEFAULT " not in said:
        yield "refuses rows that the release before writes"
    if _VOLATILE.search(action) or " GENERATED " in said:
        yield "writes the whole table anew under a lock"
    if re.search(r"\b(CHECK|UNIQUE|REFERENCES|PRIMARY)\b", said):
        yield "reads the whole table under a lock"
