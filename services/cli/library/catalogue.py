"""What can be chosen: the entries of `index.yaml`, and the files that each brings along."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from services.cli.library.words import Language, title_of
from shared.packs import packs_of

DEFAULT = ("welcome", "cart", "restock", "review", "consent-result", "consent-renewal")
"""What a workspace begins with where nothing is chosen."""

_TEMPLATE = re.compile(r"^\s+template: (\S+)$", re.MULTILINE)
_SEGMENT = re.compile(r"in_segment\(\"([a-z-]+)\"\)|^\s*segment: ([a-z-]+)$", re.MULTILINE)
_CATEGORY = re.compile(r"^category: (\w+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to choose: a journey, or two that belong together."""

    name: str
    number: str
    """Its place in the library: 1 to 18, and S1 to S3 for what the law or good manners ask for."""
    title: Mapping[Language, str]
    stage: str
    """The AARRR stage; empty where it is none."""
    sends: Mapping[Language, str]
    """When it sends, in a sentence."""
    journeys: tuple[str, ...]
    needs: tuple[str, ...] = ()
    """Entries that have to be there for this one to do anything."""


@cache
def entries() -> tuple[Entry, ...]:
    listed: Mapping[str, Any] = read_yaml("index.yaml")
    return tuple(
        Entry(
            name,
            str(row["number"]),
            {"ko": row["ko"]["title"], "en": row["en"]["title"]},
            row.get("stage", ""),
            {"ko": row["ko"]["sends"], "en": row["en"]["sends"]},
            tuple(row["journeys"]),
            tuple(row.get("needs", ())),
        )
        for name, row in listed.items()
    )


def duties(language: Language) -> tuple[str, ...]:
    """The entries by which a workspace of this language meets the duties of its packs."""
    settings = read(f"workspace/dangol.{language}.yaml")
    packs = re.search(r"^  packs: \[(.*)\]$", settings, re.MULTILINE)
    assert packs is not None
    return tuple(duty.id for pack in packs_of(tuple(packs[1].split(", "))) for duty in pack.duties)


def find(name: str) -> Entry | None:
    return next((entry for entry in entries() if entry.name == name), None)


def with_needs(chosen: Iterable[str]) -> tuple[Entry, ...]:
    """The entries and what they need, each once, in the library's order; raises KeyError."""
    known = {entry.name: entry for entry in entries()}
    wanted: set[str] = set()
    todo = list(chosen)
    while todo:
        entry = known[todo.pop()]
        if entry.name not in wanted:
            wanted.add(entry.name)
            todo += entry.needs
    return tuple(entry for entry in entries() if entry.name in wanted)


def read(path: str) -> str:
    """A file of the library, by its path within it."""
    return _folder().joinpath(*path.split("/")).read_text(encoding="utf-8")


@cache
def read_yaml(path: str) -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(read(path))


def names(folder: str) -> tuple[str, ...]:
    """The files of a folder, without their suffix."""
    found = _folder().joinpath(folder).iterdir()
    return tuple(sorted(file.name.partition(".")[0] for file in found))


def templates_of(journey: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_TEMPLATE.findall(read(f"journeys/{journey}.yaml"))))


def segments_of(journey: str) -> tuple[str, ...]:
    found = _SEGMENT.findall(read(f"journeys/{journey}.yaml"))
    return tuple(dict.fromkeys(asked or watched for asked, watched in found))


def is_advertising(journey: str) -> bool:
    found = _CATEGORY.search(read(f"journeys/{journey}.yaml"))
    return found is not None and found[1] == "marketing"


CLASSES: Mapping[bool, Mapping[Language, str]] = {
    True: {"ko": "광고", "en": "advertising"},
    False: {"ko": "정보", "en": "information"},
}
"""Whether it is advertising → how that is called."""


def class_of(entry: Entry, language: Language) -> str:
    """`advertising`, `information`, or both where its journeys are of both kinds."""
    kinds = {is_advertising(journey): None for journey in entry.journeys}
    return " + ".join(CLASSES[kind][language] for kind in kinds)


def title_of_journey(journey: str, language: Language) -> str:
    return title_of(read(f"journeys/{journey}.yaml"), language)


def _folder() -> Traversable:
    return files("services.cli") / "library"
