"""JSON Schemas of a workspace's files, for editors: to complete, to explain and to check.

They are of draft 7, the newest that yaml-language-server (VS Code, Neovim, Zed) and JetBrains' IDEs
both read. They say less than `dangol validate` (no schema knows a template's folder), and never
refuse what it takes.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel

from services.journey.language.model.journey import Journey, Segment, TestsFile
from services.journey.language.schema_words import WORDS
from shared.channels import CHANNELS, adapters_of
from shared.packs import PACKS
from shared.tracking import EventPlan, PropertyPlan, TrackingPlan
from shared.workspace import WorkspaceSettings

Schema = dict[str, Any]

_CHANNEL: Schema = {"enum": sorted(CHANNELS)}


def journey_schema() -> Schema:
    return _of_language(Journey, "A journey of Dangol: journeys/<id>.yaml")


def tests_schema() -> Schema:
    return _of_language(TestsFile, "Tests of a journey: tests/<any>.yaml")


def segment_schema() -> Schema:
    return _of_language(Segment, "A segment of Dangol: segments/<name>.yaml")


def settings_schema() -> Schema:
    schema = _schema(WorkspaceSettings, "A workspace's settings: dangol.yaml")
    defined = schema["definitions"]
    for rule in ("QuietHours", "FrequencyCap"):
        defined[rule]["properties"]["channels"]["items"] = _CHANNEL
    defined["Policies"]["properties"]["packs"]["items"] = {"enum": sorted(PACKS)}
    schema["properties"]["channels"] = {
        "description": WORDS["WorkspaceSettings"]["channels"],
        "type": "object",
        "additionalProperties": False,
        "properties": {
            channel.name: {
                "allOf": [
                    {"$ref": "#/definitions/ChannelSettings"},
                    {"properties": {
                        "adapter": {"enum": sorted(adapters_of(channel))},
                        "failover": {"items": {"enum": sorted(adapters_of(channel))}},
                    }},
                ]
            }
            for channel in CHANNELS.values()
        },
    }  # fmt: skip
    return schema


def events_schema() -> Schema:
    """With the short forms: `total: number`, and an event of which only the name is said."""
    schema = _schema(TrackingPlan, "The tracking plan: events.yaml")
    kinds = schema["definitions"][PropertyPlan.__name__]["properties"]["type"]["enum"]
    properties = schema["definitions"][EventPlan.__name__]["properties"]["properties"]
    properties["additionalProperties"] = {
        "anyOf": [{"enum": kinds}, properties["additionalProperties"]]
    }
    properties["type"] = ["object", "null"]
    events = schema["properties"]["events"]
    events["additionalProperties"] = {"anyOf": [events["additionalProperties"], {"type": "null"}]}
    return schema


SCHEMAS: Mapping[str, Callable[[], Schema]] = {
    "journey": journey_schema,
    "settings": settings_schema,
    "segment": segment_schema,
    "events": events_schema,
    "tests": tests_schema,
}


def _of_language(model: type[BaseModel], title: str) -> Schema:
    """Of a file whose fields are read from their text: a template called 2026 is a name, too."""
    schema: Schema = _without_null(_schema(model, title))
    defined = schema["definitions"]
    if "Send" in defined:
        send = defined["Send"]["properties"]
        send["send"] |= _CHANNEL
        send["else"] = {
            "description": WORDS["Send"]["else"],
            "anyOf": [_CHANNEL, {"type": "array", "items": _CHANNEL}],
        }
        defined["Set"]["properties"]["set"]["propertyNames"] = {"pattern": r"^profile\..+"}
    return schema


def _schema(model: type[BaseModel], title: str) -> Schema:
    whole = model.model_json_schema()
    defined = whole.pop("$defs", {})
    for name, each in ((model.__name__, whole), *defined.items()):
        _explain(name, each)
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **_plain(whole),
        "title": title,
        "definitions": {name: _plain(each) for name, each in defined.items()},
    }
    schema.pop("description", None)
    return schema


def _explain(name: str, schema: Schema) -> None:
    schema.pop("description", None)  # what a docstring says is for programmers
    words = WORDS.get(name, {})
    for field, each in schema.get("properties", {}).items():
        each.pop("title", None)
        if field in words:
            each["description"] = words[field]


_RENAMED = {"ge": "minimum", "le": "maximum", "oneOf": "anyOf"}
"""Editors explain a failed `anyOf` by the member that fits best, a failed `oneOf` not at all."""


def _plain(value: Any) -> Any:
    """A part of the schema in draft 7: `$ref` stands alone, and bounds are of the draft's names."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    held = {_RENAMED.get(key, key): _plain(item) for key, item in value.items()}
    held.pop("default", None)  # editors would write it out at each completion
    reference = held.pop("$ref", None)
    if reference is None:
        return held
    there = {"$ref": reference.replace("#/$defs/", "#/definitions/")}
    return {**held, "allOf": [there]} if held else there


def _without_null(value: Any) -> Any:
    """In the language a field that says nothing is a mistake, not a null."""
    if isinstance(value, list):
        return [_without_null(item) for item in value if item != {"type": "null"}]
    if not isinstance(value, dict):
        return value
    held = {key: _without_null(item) for key, item in value.items()}
    choices = held.get("anyOf")
    if isinstance(choices, list) and len(choices) == 1:
        del held["anyOf"]
        held = {**choices[0], **held}
    return held
