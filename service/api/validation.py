"""What is wrong with a request body, in this API's words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from pydantic_core import ErrorDetails

from service.api.schemas import EACH, ONE, RequestModel
from service.errors import InvalidInput, MalformedRequest, PolygrainError, quote


def translated(error: ErrorDetails, model: type[RequestModel]) -> PolygrainError:
    """A validation error of pydantic in this API's words."""
    kind, value = error["type"], error["input"]
    if kind == "json_invalid":
        reason = error["ctx"]["error"]
        # What the parser says of half a surrogate pair tells nobody what is wrong.
        hint = "; escapes from \\ud800 to \\udfff stand in pairs" if "hex escape" in reason else ""
        return MalformedRequest(f"the body is not JSON in UTF-8: {reason}{hint}")
    param = _path(error["loc"])
    fields = ", ".join(_model_at(model, error["loc"]).model_fields)
    if kind == "extra_forbidden":
        return InvalidInput(f"unknown field {param}; the fields are {fields}", param)
    if kind == "missing":
        return InvalidInput(f"field {param} is missing; the fields are {fields}", param)
    if kind == "model_type":
        what = param or "the body"
        return InvalidInput(
            f"{what} is {_kind(value)}; send an object with {fields}", param or None
        )
    if kind == "literal_error":
        allowed = error["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
        return InvalidInput(f"{param} is {_said(value)}; use one of {allowed}", param)
    if kind in _EXPECTED:
        or_list = ", or a list of them" if ONE in error["loc"] else ""
        return InvalidInput(
            f"{param} is {_kind(value)}; it must be {_EXPECTED[kind]}{or_list}", param
        )
    reason = error["msg"][:1].lower() + error["msg"][1:]
    return InvalidInput(f"{param} is {_said(value)}: {reason}", param)


def _model_at(model: type[RequestModel], location: tuple[int | str, ...]) -> type[RequestModel]:
    """The innermost model on the way to a place."""
    for part in location:
        field = model.model_fields.get(str(part))
        if field is not None:
            model = next(_models_in(field.annotation), model)
    return model


def _models_in(annotation: object) -> Iterator[type[RequestModel]]:
    if isinstance(annotation, type) and issubclass(annotation, RequestModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


_EXPECTED = {
    "string_type": "a string",
    "list_type": "a list",
    "bool_type": "true or false",
    "int_type": "an integer",
    "float_type": "a number",
    "dict_type": "an object",
}

_KINDS: dict[type, str] = {
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


def _kind(value: object) -> str:
    return _KINDS.get(type(value), "something else")


def _said(value: object) -> str:
    return _kind(value) if isinstance(value, list | dict) else quote(value)


def _path(location: tuple[int | str, ...]) -> str:
    """A field's place as a caller writes it, such as `inputs[3]`; a long name is cut."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part not in (ONE, EACH):
            path += f".{part}" if path else part
    return path if len(path) <= 100 else path[:100] + "…"
