"""docs/journey-library.md, made from the library itself.

`python -m services.cli.library.page > docs/journey-library.md` writes it; a test holds the page to
what is in the library.
"""

from collections.abc import Iterable, Iterator

from services.cli.library import catalogue
from services.cli.library.catalogue import DEFAULT, Entry, class_of, entries
from services.cli.library.needs import OWN, needs_of
from services.cli.library.tables import event_rows, row
from services.cli.library.words import title_of

_EVERYWHERE = "open-to-ads"
"""The segment of all advertising: what it reads is told once."""


def page() -> str:
    listed = entries()
    everything = needs_of(listed)
    filled = {
        "default": _names(DEFAULT),
        "entries": "\n".join(map(_entry_row, listed)),
        "needs": "\n".join(map(_needs_row, listed)),
        "events": "\n".join(event_rows(everything, "en", with_source=True)),
        "own": _names(sorted(OWN - everything.emitted.keys())),
        "emitted": _names(sorted(everything.emitted)),
        "segments": "\n".join(_segment_rows(listed)),
    }
    text = catalogue.read("workspace/page.md")
    for name, value in filled.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _entry_row(entry: Entry) -> str:
    title = f"{entry.title['ko']}<br>{entry.title['en']}"
    stage, kinds = entry.stage or "-", class_of(entry, "en")
    return row((entry.number, f"`{entry.name}`", title, stage, kinds, entry.sends["en"]))


def _needs_row(entry: Entry) -> str:
    needs = needs_of([entry], without=frozenset({_EVERYWHERE}))
    events = [
        f"{event} ({_names(sorted(properties))})" if properties else event
        for event, properties in needs.sent().items()
    ]
    traits = sorted(t for t in needs.traits - {"name"} if not t.startswith("consent."))
    return row(
        (
            f"`{entry.name}`",
            "<br>".join(events) or "-",
            _names(traits) or "-",
            ", ".join(needs.channels),
            _names(sorted(needs_of([entry]).segments)) or "-",
            _names(entry.needs) or "-",
        )
    )


def _segment_rows(listed: Iterable[Entry]) -> Iterator[str]:
    users: dict[str, list[str]] = {}
    for entry in listed:
        for segment in needs_of([entry]).segments:
            users.setdefault(segment, []).append(entry.name)
    for segment in sorted(users):
        text = catalogue.read(f"segments/{segment}.yaml")
        title = f"{title_of(text, 'ko')}<br>{title_of(text, 'en')}"
        used = "all advertising" if segment == _EVERYWHERE else _names(users[segment])
        yield row((f"`{segment}`", title, used))


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    print(page(), end="")
