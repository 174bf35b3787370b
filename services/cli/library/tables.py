"""Rows of tables about the library, for the documentation and for a workspace's README."""

from collections.abc import Iterable, Iterator, Mapping

from services.cli.library import catalogue
from services.cli.library.needs import Needs
from services.cli.library.words import Language


def row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def event_rows(needs: Needs, language: Language, *, with_source: bool) -> Iterator[str]:
    """A row for each event that the shop sends; `with_source` adds where its name comes from."""
    told: Mapping[str, Mapping[str, str]] = catalogue.read_yaml("events.yaml")
    for event, properties in needs.sent().items():
        about = told[event]
        mark = "◦ " if event in needs.catalogue else ""
        listed = ", ".join(f"`{name}`" for name in sorted(properties)) or "-"
        cells = [mark + event, about[language], listed]
        if with_source:
            cells += [about.get("spec", "-"), f"`{about['from']}`"]
        yield row(cells)
