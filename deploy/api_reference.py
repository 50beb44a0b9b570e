"""Prints `docs/api-reference.md` from the OpenAPI document that the service serves:

python -m deploy.api_reference > docs/api-reference.md
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from service.api.documentation import documentation_routes
from service.app import OPERATIONS

Schema = dict[str, Any]

_HEAD = """\
# The HTTP interface, operation by operation

Every path, field, type, limit and default, as the service's own OpenAPI document has them
(`GET /openapi.json`; `GET /docs` draws it). [The HTTP interface](api.md) tells what they mean, with
examples, the codes of [errors](api.md#errors) and the [settings](api.md#settings);
[collections](collections.md) and [jobs](jobs.md) have pages of their own. Where the service asks
for keys, send `Authorization: Bearer KEY`.

Made by `python -m deploy.api_reference > docs/api-reference.md`; a test holds it equal to what is
served.
"""

# What limits a value in JSON Schema, as it reads in a table.
_LIMITS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "pattern": "matches `{}`",
}


def served_document() -> Schema:
    """The OpenAPI document, from the route that serves it."""
    (route,) = (
        route
        for route in documentation_routes(OPERATIONS)
        if isinstance(route, Route) and route.path == "/openapi.json"
    )
    response = asyncio.run(route.endpoint(Request({"type": "http"})))
    document: Schema = json.loads(response.body)
    return document


def reference(document: Schema) -> str:
    """The whole page, of an OpenAPI document."""
    operations = [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    parts = [_HEAD]
    tags = dict.fromkeys(operation["tags"][0] for _, _, operation in operations)
    for tag in tags:
        parts.append(f"## {tag[0].upper()}{tag[1:]}\n")
        parts += [_operation(*each) for each in operations if each[2]["tags"][0] == tag]
    parts.append("## Objects\n\nWhat the tables above name.\n")
    schemas = document["components"]["schemas"]
    parts += [_object(name, schemas[name]) for name in sorted(schemas)]
    return "\n".join(parts)


def _operation(method: str, path: str, operation: Schema) -> str:
    lines = [f"### {method.upper()} {path}", "", *_prose(operation.get("description", ""))]
    if parameters := operation.get("parameters"):
        rows = [
            (f"`{each['name']}`", each["in"], type_of(each["schema"]), each.get("description", ""))
            for each in parameters
        ]
        lines += _table(("Parameter", "In", "Type", "What it is"), rows)
    if body := operation.get("requestBody"):
        for media_type, content in body["content"].items():
            lines += [f"Body, `{media_type}`:", "", *_fields(content["schema"])]
    responses = operation["responses"]
    for media_type, content in responses["200"].get("content", {}).items():
        schema = content["schema"]
        lines += [f"Answers `{media_type}`: {_named_or_described(schema)}", ""]
    if errors := [status for status in responses if status != "200"]:
        lines += [f"Errors: {', '.join(errors)}, each an [ErrorBody](#errorbody).", ""]
    return "\n".join(lines)


def _object(name: str, schema: Schema) -> str:
    return "\n".join([f"### {name}", "", *_prose(schema.get("description", "")), *_fields(schema)])


def _fields(schema: Schema) -> list[str]:
    """A table of an object's fields, or a line for what has none."""
    if "properties" not in schema:
        return [f"{_sentence(type_of(schema))}", ""]
    required = schema.get("required", [])
    rows = [
        (
            f"`{name}`",
            type_of(field),
            "required" if name in required else _default(field),
            field.get("description", ""),
        )
        for name, field in schema["properties"].items()
    ]
    return _table(("Field", "Type", "Default", "What it is"), rows)


def _default(field: Schema) -> str:
    value = field.get("default")
    return "" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`"


def type_of(schema: Schema) -> str:
    """A JSON Schema in words: its type, allowed values and limits."""
    if reference := schema.get("$ref"):
        name = reference.rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(type_of(option) for option in options))
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if values := schema.get("enum"):
        return ", ".join(f"`{json.dumps(value, ensure_ascii=False)}`" for value in values)
    limits = [
        text.format(f"{limit:g}" if isinstance(limit := schema[key], float) else limit)
        for key, text in _LIMITS.items()
        if key in schema
    ]
    return ", ".join([_plain_type(schema), *limits])


def _plain_type(schema: Schema) -> str:
    kind = schema.get("type", "any JSON value")
    if kind == "array":
        if places := schema.get("prefixItems"):
            return f"[{', '.join(type_of(place) for place in places)}]"
        return f"list of ({type_of(schema['items'])})" if schema.get("items") else "list"
    values = schema.get("additionalProperties")
    if kind == "object" and isinstance(values, dict):
        return f"object of ({type_of(values)})"
    return str(kind)


def _named_or_described(schema: Schema) -> str:
    return str(schema.get("description") or f"{type_of(schema)}.")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _prose(text: str) -> list[str]:
    """Paragraphs, each on a line of its own."""
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
    return [line for paragraph in paragraphs if paragraph for line in (paragraph, "")]


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [
        f"| {' | '.join(heads)} |",
        f"|{'---|' * len(heads)}",
        *(f"| {' | '.join(map(_cell, row))} |" for row in rows),
        "",
    ]


def _cell(text: str) -> str:
    """Text as it may stand between the bars of a table."""
    return re.sub(r"\s+", " ", text).replace("|", r"\|").strip()


if __name__ == "__main__":
    sys.stdout.write(reference(served_document()))
