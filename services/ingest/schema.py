"""The SDKs' paths in the OpenAPI document: `Edge` answers them before FastAPI hears of them.

One entry stands for each path in its plainest form; the last slash may be there or not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI

Schema = dict[str, Any]

TAG = "events"

_KINDS = ["track", "identify", "page", "screen", "group", "alias"]
_EVENT: Schema = {
    "type": "object",
    "examples": [
        {
            "type": "track",
            "userId": "u1",
            "event": "Product Added",
            "properties": {"sku": "A-1", "price": 12000},
        }
    ],
}
_BATCH: Schema = {
    "type": "object",
    "examples": [{"batch": _EVENT["examples"], "sentAt": "2026-03-02T12:00:00Z"}],
}
_POSTHOG: Schema = {
    "type": "object",
    "examples": [
        {
            "api_key": "c0123456789abcdefghijklmn",
            "batch": [
                {
                    "event": "Product Added",
                    "distinct_id": "u1",
                    "uuid": "0190d9c6-6e5e-7b4d-9d0a-000000000001",
                    "properties": {"sku": "A-1", "price": 12000},
                }
            ],
        }
    ],
}
_CATALOG: Schema = {
    "type": "object",
    "examples": [
        {
            "event": "Product Restocked",
            "properties": {"sku": "A-1", "stock": 12},
            "messageId": "erp-5531",
        }
    ],
}
_ANY: Schema = {"type": "object", "examples": [{}]}
_SUCCESS: Schema = {
    "type": "object",
    "examples": [{"success": True, "ok": True, "status": 1}],
}
_FAILURE: Schema = {
    "type": "object",
    "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
}
_AUTH = (
    "The write key is the user name of `Authorization: Basic`, or stands in `X-Write-Key`, in "
    "`?writeKey=` or in the body."
)


@dataclass(frozen=True, slots=True)
class _Entry:
    path: str
    text: str
    body: Schema | None = None
    """None for what is read with GET."""
    kinds: tuple[str, ...] = ()
    """The values of `{kind}` in the path."""


_ENTRIES = (
    _Entry("/v1/batch", f"Events, up to 10,000. {_AUTH}", _BATCH),
    _Entry(
        "/v1/{kind}",
        "One event, whose kind the path names if it does not itself. First letters do too: `t`, "
        "`i`, `p`, `s`, `g`, `a`, and `b` for a batch; these also without `/v1`.",
        _EVENT,
        (*_KINDS, *(kind[0] for kind in _KINDS), "b"),
    ),
    _Entry("/beacon/v1/batch", "What RudderStack sends as a page is left.", _BATCH),
    _Entry(
        "/v1/import",
        "Events of the past: profile and history, and no journey moves by them. Needs a secret "
        "key.",
        _BATCH,
    ),
    _Entry(
        "/v1/catalog",
        'An event that belongs to no customer (stock, a price), or `{"batch": [event, …]}`; with '
        "a secret key only. It starts the journeys whose trigger has an `audience`.",
        _CATALOG,
    ),
    _Entry(
        "/api/public/apps/{kind}",
        "Dittofeed's path. Its requests wait while the log is away.",
        _BATCH,
        (*_KINDS, "batch"),
    ),
    _Entry(
        "/api/s/{kind}",
        "Jitsu's path. Its requests wait while the log is away.",
        _EVENT,
        (*_KINDS, "batch"),
    ),
    _Entry("/api/s/s2s/{kind}", "The same, from servers.", _EVENT, (*_KINDS, "batch")),
    _Entry(
        "/v1/webhook/{source}",
        "A webhook that the workspace describes, signed by its sender.",
        _ANY,
    ),
    _Entry("/batch", "PostHog's events: one, a list, or a batch.", _POSTHOG),
    _Entry("/capture", "The same.", _POSTHOG),
    _Entry("/e", "The same; also a form whose `data` is Base64.", _POSTHOG),
    _Entry("/i/v0/e", "The same.", _POSTHOG),
    _Entry(
        "/i/v1/analytics/events",
        "PostHog's newer protocol: a Bearer key, and `results` in the answer that name each event.",
        _POSTHOG,
    ),
    _Entry(
        "/v1/webhook/{source}",
        "Another system's signed webhook, as `sources:` in dangol.yaml describes it.",
        _ANY,
    ),
    _Entry("/flags", "PostHog's feature flags: there are none. Also `/decide`.", _ANY),
    _Entry("/v1/m", "What SDKs tell of themselves; forgotten. Also `/rsaMetrics`.", _ANY),
    _Entry("/v1/projects/{key}/settings", "The settings of Segment's SDKs in browsers."),
    _Entry("/sourceConfig", "The settings of RudderStack's SDKs in browsers."),
    _Entry("/array/{key}/config", "The settings of PostHog's SDK; also as a script, `config.js`."),
)


def describe(app: FastAPI) -> None:
    """Put the SDKs' paths into the app's OpenAPI document, before its own."""
    own = app.openapi

    def openapi() -> Schema:
        document = own()
        paths: Schema = document["paths"]
        if TAG not in {tag["name"] for tag in document.setdefault("tags", [])}:
            document["tags"].append({"name": TAG, "description": "What SDKs call."})
            document["paths"] = {**dict(_paths()), **paths}
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend it


def _paths() -> Iterator[tuple[str, Schema]]:
    for entry in _ENTRIES:
        method = "get" if entry.body is None else "post"
        yield entry.path, {method: _operation(entry, method)}


def _operation(entry: _Entry, method: str) -> Schema:
    operation: Schema = {
        "tags": [TAG],
        "summary": entry.text.partition(". ")[0].rstrip("."),
        "description": entry.text,
        "operationId": f"{method}{entry.path}",
        "parameters": list(_parameters(entry)),
        "responses": {"200": _answer("Taken, durably", _SUCCESS)},
    }
    if "{" in entry.path:
        operation["responses"]["404"] = _answer("No such path", _FAILURE)
    if entry.body is None:
        operation["responses"]["200"] = _answer("The settings", _ANY)
        return operation
    operation["requestBody"] = {"content": {"application/json": {"schema": entry.body}}}
    operation["responses"] |= {
        "400": _answer("No JSON, or no events", _FAILURE),
        "401": _answer("No key, or an unknown or revoked one", _FAILURE),
        "403": _answer("A key that may not do this", _FAILURE),
        "413": _answer("Too much for one request", _FAILURE),
        "429": _answer("Over the key's limit: again after `Retry-After`", _FAILURE),
        "503": _answer("Our trouble: again after `Retry-After`", _FAILURE),
    }
    return operation


def _parameters(entry: _Entry) -> Iterator[Schema]:
    if entry.kinds:
        yield _parameter("kind", {"type": "string", "enum": list(entry.kinds)})
    if "{source}" in entry.path:
        yield _parameter("source", {"type": "string"}, "Its name in dangol.yaml")
    if "{key}" in entry.path:
        yield _parameter("key", {"type": "string"}, "The write key")
    if "{source}" in entry.path:
        yield _parameter("source", {"type": "string"}, "Its name in `dangol.yaml`")


def _parameter(name: str, schema: Schema, text: str = "") -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": schema, "description": text}


def _answer(text: str, schema: Schema) -> Schema:
    return {"description": text, "content": {"application/json": {"schema": schema}}}
