"""`/docs`: the OpenAPI document as one plain page, readable without any script."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

Schema = Mapping[str, Any]

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --accent: #0b6e4f; }
@media (prefers-color-scheme: dark) { :root { --accent: #6fd3ae; } }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1.5rem; }
h2 { margin-top: 3rem; } h2::first-letter { text-transform: uppercase; }
section { border: 1px solid var(--line); border-radius: .6rem; padding: .2rem 1rem 1rem;
  margin: 1rem 0; overflow-x: auto; }
code, pre { font: 14px/1.5 ui-monospace, monospace; }
pre { background: var(--soft); padding: .8rem; border-radius: .4rem; overflow-x: auto; }
b.method { color: var(--accent); text-transform: uppercase; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .2rem 1rem .2rem 0;
  vertical-align: top; border-bottom: 1px solid var(--line); }
a { color: var(--accent); } summary { cursor: pointer; }
"""


def render_api(document: Schema) -> str:
    """The page; every text of the document is escaped."""
    schemas: Mapping[str, Schema] = document.get("components", {}).get("schemas", {})
    body = "".join(_operations(document, schemas))
    info = document["info"]
    paragraphs = "".join(f"<p>{_prose(part)}</p>" for part in info["description"].split("\n\n"))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(info['title'])}: API</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(info['title'])}: API</h1>{paragraphs}"
        '<p>For programs: <a href="/openapi.json">openapi.json</a>.</p>'
        f"{body}</body></html>"
    )


def _operations(document: Schema, schemas: Mapping[str, Schema]) -> Iterator[str]:
    tag = None
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tags = operation.get("tags", ["more"])
            if tags[0] != tag:
                tag = tags[0]
                yield f"<h2>{escape(tag)}</h2>"
            yield (
                f'<section><h3><b class="method">{method}</b> <code>{escape(path)}</code></h3>'
                f"<p>{_prose(operation.get('description') or operation.get('summary', ''))}</p>"
            )
            yield _parameters(operation)
            yield _body(operation, schemas)
            yield from _answers(operation, schemas)
            yield "</section>"


def _parameters(operation: Schema) -> str:
    rows = []
    for parameter in operation.get("parameters", ()):
        if parameter["name"].lower() == "accept-language":  # every browser's own
            continue
        schema = parameter["schema"]
        default = schema.get("default")
        more = "" if default is None else f", default <code>{escape(str(default))}</code>"
        if parameter.get("required"):
            more = ", required"
        if parameter["in"] == "header":
            more += ", a header"
        rows.append(
            f"<tr><td><code>{escape(parameter['name'])}</code></td><td>{_kind(schema)}{more}"
            f"</td><td>{_prose(parameter.get('description', ''))}</td></tr>"
        )
    return f"<table>{''.join(rows)}</table>" if rows else ""


def _body(operation: Schema, schemas: Mapping[str, Schema]) -> str:
    body = operation.get("requestBody")
    if body is None:
        return ""
    kind, content = next(iter(body["content"].items()))
    text = f"<p>Body <code>{escape(kind)}</code> {_prose(body.get('description', ''))}</p>"
    return text + (_example(content["schema"], schemas) if "json" in kind else "")


def _answers(operation: Schema, schemas: Mapping[str, Schema]) -> Iterator[str]:
    for status, answer in sorted(operation["responses"].items()):
        schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
        opened = " open" * status.startswith("2")
        yield (
            f"<details{opened}><summary>{escape(status)} {_prose(answer['description'])}</summary>"
            f"{_example(schema, schemas)}</details>"
        )


def _example(schema: Schema, schemas: Mapping[str, Schema]) -> str:
    text = json.dumps(_sample(schema, schemas), ensure_ascii=False, indent=2)
    return f"<pre>{escape(text)}</pre>"


def _sample(schema: Schema, schemas: Mapping[str, Schema], within: tuple[str, ...] = ()) -> Any:
    """A value such as the schema describes, from its examples where it has any.

    `within` names the schemas around it: one that holds itself is shown once.
    """
    if schema.get("examples"):
        return schema["examples"][0]
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return "…" if name in within else _sample(schemas[name], schemas, (*within, name))
    if "anyOf" in schema:
        return _sample(schema["anyOf"][0], schemas, within)
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if schema.get("type") == "object":
        fields = schema.get("properties", {})
        return {name: _sample(field, schemas, within) for name, field in fields.items()}
    if schema.get("type") == "array":
        return [_sample(schema.get("items", {}), schemas, within)]
    if schema.get("format") == "date-time":
        return "2026-03-02T12:00:00Z"
    return {"integer": 0, "boolean": False, "string": "…"}.get(str(schema.get("type")))


def _kind(schema: Schema) -> str:
    if "enum" in schema:
        return " | ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if "anyOf" in schema:
        return _kind(next(s for s in schema["anyOf"] if s.get("type") != "null"))
    return escape(str(schema.get("type", "any")))


def _prose(text: str) -> str:
    """`code` in backticks; the rest as it stands."""
    parts = escape(text.strip()).split("`")
    return "".join(f"<code>{p}</code>" if n % 2 else p for n, p in enumerate(parts))
