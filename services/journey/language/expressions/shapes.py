"""What events hold by the tracking plan, where there is one: for the checker of expressions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from services.journey.language.expressions.kinds import Kind
from services.journey.language.problems import nearest


@dataclass(frozen=True, slots=True)
class Shape:
    """What is known of an event at one place: it is one of `events`."""

    events: tuple[str, ...]
    properties: Mapping[str, Kind]

    def kind(self, name: str) -> Kind | None:
        """None for a property that none of the events has."""
        return self.properties.get(name)

    def said(self, name: str) -> tuple[str, str]:
        """Message and hint for such a property."""
        of = " or ".join(f"`{event[:60]}`" for event in self.events[:3])
        more = "" if self.properties else "events.yaml lists no property of it"
        return (
            f"the tracking plan knows no property `{name[:60]}` of {of}",
            nearest(name, self.properties) or more or "add it to events.yaml",
        )


@dataclass(frozen=True, slots=True)
class Shapes:
    """All events that the plan lists, and those of Dangol's own, of which anything may be asked."""

    events: Mapping[str, Mapping[str, Kind]]
    open: frozenset[str] = frozenset()

    def knows(self, event: str) -> bool:
        return event in self.events or event in self.open

    def unknown(self, event: str) -> tuple[str, str]:
        """Message and hint for an event that is not listed."""
        close = nearest(event, (*self.events, *self.open))
        hint = close if close.startswith("did") else "add it to events.yaml"
        return f"the tracking plan lists no event `{event[:60]}`", hint

    def of(self, events: Iterable[str]) -> Shape | None:
        """The shape of one of these events; None where anything may be in it.

        A property of one of several is known, and its kind is, if they agree on it.
        """
        names = tuple(dict.fromkeys(events))
        if not names or any(name not in self.events for name in names):
            return None  # an event that is not listed has a problem already
        kinds: dict[str, Kind] = {}
        for name in names:
            for key, kind in self.events[name].items():
                kinds[key] = kind if kinds.get(key, kind) is kind else Kind.ANY
        return Shape(names, kinds)
