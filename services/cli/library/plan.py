"""The tracking plan of a workspace: the events and properties that its journeys read."""

import json
from collections.abc import Iterable, Mapping, Sequence

from services.cli.library import catalogue
from services.cli.library.catalogue import Entry
from services.cli.library.needs import needs_of
from services.cli.library.words import Language

_HEAD = {
    "ko": """\
# 이벤트 설계서(tracking plan): 이 여정들이 읽는 이벤트와 속성입니다.
# 쇼핑몰이 보내는 이름과 형식이 다르면 알려 줍니다.
# warn은 세기만 하고, enforce로 바꾸면 맞지 않는 이벤트를 따로 빼 둡니다.
mode: warn
events:
""",
    "en": """\
# The tracking plan: the events that these journeys read, with their properties.
# What comes in another shape is told.
# `warn` counts it; with `enforce` it is set aside.
mode: warn
events:
""",
}


def plan_of(entries: Iterable[Entry], language: Language) -> str:
    """The content of events.yaml."""
    told: Mapping[str, Mapping[str, str]] = catalogue.read_yaml("events.yaml")
    lines = []
    needs = needs_of(entries)
    for event, properties in needs.sent().items():
        about = json.dumps(told[event][language], ensure_ascii=False)
        lines += [f"  {event}:", f"    description: {about}"]
        read = {name.partition("[]")[0] for name in properties}
        names = sorted(read | needs.emitted.get(event, set()))
        if names:
            lines.append("    properties:")
            lines += [f"      {name}: {type_of(name)}" for name in names]
    return _HEAD[language] + "\n".join(lines) + "\n"


def type_of(name: str) -> str:
    types: Mapping[str, Sequence[str]] = catalogue.read_yaml("properties.yaml")
    return next((kind for kind, names in types.items() if name in names), "text")
