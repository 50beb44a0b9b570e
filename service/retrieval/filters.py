"""The filter language: from JSON to a condition of SQL, or to an error that names the place.

A condition is an object with one of `and`, `or` (lists), `not` (a condition), or with `field` and
one of `eq`, `in`, `range`, `exists`. A field is `id`, `language`, `granularity` or a path into the
metadata, `metadata.author.name`. Values compare within their kind alone: no number with a string.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from service.errors import InvalidInput, quote

# Bounds on what one filter may ask of the database.
MAX_DEPTH = 16
MAX_VALUES = 1_000

COLUMNS = ("id", "language", "granularity")
_OPERATIONS = ("eq", "in", "range", "exists")
_GROUPS = ("and", "or", "not")
_BOUNDS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
# The largest integer that SQLite keeps as one; larger ones it holds as floating point, as we do.
_LARGEST = 2**63 - 1

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on a row of `documents AS d`, with the values of its question marks."""

    sql: str
    values: tuple[str | int | float, ...] = ()


EVERYTHING = Condition("1")


def parse_filter(value: object, param: str = "filter") -> Condition:
    """The filter as a condition; InvalidInput names the part at fault."""
    condition = _parse(value, param, MAX_DEPTH)
    if len(condition.values) > 4 * MAX_VALUES:
        raise InvalidInput(f"{param} has too many values; send at most {MAX_VALUES}", param)
    return condition


def all_of(conditions: Iterable[Condition]) -> Condition:
    """What meets every one of `conditions`; everything where there is none."""
    return _joined("AND", [each for each in conditions if each != EVERYTHING]) or EVERYTHING


def one_of(column: str, values: Sequence[str]) -> Condition:
    """What has one of `values` in a column."""
    return Condition(_known(column, f"d.{column} IN ({_marks(values)})"), tuple(values))


def _parse(value: object, param: str, depth: int) -> Condition:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{param} is {quote(value)}; {_FORM}", param)
    if not depth:
        raise InvalidInput(f"{param} is nested deeper than {MAX_DEPTH} levels; flatten it", param)
    groups = [name for name in _GROUPS if name in value]
    if groups:
        if len(value) > 1:
            raise InvalidInput(f"{param} has more than {groups[0]!r} in it; {_FORM}", param)
        return _group(groups[0], value[groups[0]], f"{param}.{groups[0]}", depth)
    return _leaf(value, param)


_FORM = "send an object with one of and, or, not, or with a field and one of eq, in, range, exists"


def _group(name: str, inner: object, param: str, depth: int) -> Condition:
    if name == "not":
        condition = _parse(inner, param, depth - 1)
        return Condition(f"NOT ({condition.sql})", condition.values)
    if not isinstance(inner, list) or not inner:
        raise InvalidInput(f"{param} is {quote(inner)}; send a list of conditions", param)
    if len(inner) > MAX_VALUES:
        raise InvalidInput(f"{param} has {len(inner)} conditions; at most {MAX_VALUES}", param)
    parts = [_parse(each, f"{param}[{index}]", depth - 1) for index, each in enumerate(inner)]
    joined = _joined(name.upper(), parts)
    assert joined is not None
    return joined


def _joined(word: str, parts: Sequence[Condition]) -> Condition | None:
    """`parts` with AND or OR between them, as a balanced tree: SQLite bounds the depth."""
    if not parts:
        return None
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    one, other = _joined(word, parts[:middle]), _joined(word, parts[middle:])
    assert one is not None
    assert other is not None
    return Condition(f"(({one.sql}) {word} ({other.sql}))", one.values + other.values)


def _leaf(value: Mapping[str, object], param: str) -> Condition:
    name = value.get("field")
    operations = [each for each in value if each != "field"]
    if not isinstance(name, str) or len(operations) != 1 or operations[0] not in _OPERATIONS:
        raise InvalidInput(f"{param} has the keys {quote(sorted(value))}; {_FORM}", param)
    operation, operand = operations[0], value[operations[0]]
    place = f"{param}.{operation}"
    if operation == "exists":
        if not isinstance(operand, bool):
            raise InvalidInput(f"{place} is {quote(operand)}; use true or false", place)
        condition = _exists(name, param)
        return condition if operand else Condition(f"NOT ({condition.sql})", condition.values)
    if operation == "range":
        return _range(name, operand, param, place)
    operands = [operand] if operation == "eq" else operand
    if not isinstance(operands, list) or not 0 < len(operands) <= MAX_VALUES:
        raise InvalidInput(f"{place} must be a list of 1 to {MAX_VALUES} values", place)
    return _equals(name, [_scalar(each, place) for each in operands], param, place)


def _exists(name: str, param: str) -> Condition:
    if name in COLUMNS:
        return Condition(f"d.{name} IS NOT NULL")
    return Condition("json_type(d.metadata, ?) IS NOT NULL", (_path(name, param),))


def _range(name: str, bounds: object, param: str, place: str) -> Condition:
    if not isinstance(bounds, Mapping) or not bounds or not set(bounds) <= set(_BOUNDS):
        raise InvalidInput(
            f"{place} is {quote(bounds)}; send an object with some of {', '.join(_BOUNDS)}", place
        )
    values = [_scalar(each, f"{place}.{bound}") for bound, each in bounds.items()]
    kinds = {_kind(each) for each in values}
    if len(kinds) > 1 or not kinds <= {"number", "text"}:
        raise InvalidInput(
            f"{place} is {quote(dict(bounds))}; its bounds must be all numbers or all strings",
            place,
        )
    signs = [_BOUNDS[bound] for bound in bounds]
    if name in COLUMNS:
        if kinds != {"text"}:
            raise InvalidInput(f"{place} compares {name}, a string, with a number", place)
        tests = " AND ".join(f"d.{name} {sign} ?" for sign in signs)
        return Condition(_known(name, tests), tuple(map(_bound_value, values)))
    tests = " AND ".join(f"e.value {sign} ?" for sign in signs)
    return _some_value(name, param, f"{_TYPES[kinds.pop()]} AND {tests}", values)


def _equals(name: str, values: list[Scalar], param: str, place: str) -> Condition:
    if name in COLUMNS:
        if any(not isinstance(each, str) for each in values):
            raise InvalidInput(f"{place} compares {name}, a string, with something else", place)
        return one_of(name, [each for each in values if isinstance(each, str)])
    tests: list[str] = []
    bound: list[Scalar] = []
    for kind in ("text", "number", "true", "false", "null"):
        of_kind = [each for each in values if _kind(each) == kind]
        if of_kind and kind in ("text", "number"):
            tests.append(f"({_TYPES[kind]} AND e.value IN ({_marks(of_kind)}))")
            bound += of_kind
        elif of_kind:
            tests.append(_TYPES[kind])
    return _some_value(name, param, f"({' OR '.join(tests)})", bound)


# What json_each calls the kinds of JSON.
_TYPES = {
    "text": "e.type = 'text'",
    "number": "e.type IN ('integer', 'real')",
    "true": "e.type = 'true'",
    "false": "e.type = 'false'",
    "null": "e.type = 'null'",
}


def _some_value(name: str, param: str, test: str, values: Sequence[Scalar]) -> Condition:
    """A metadata value that meets `test`; of a list, any of its items."""
    path = _path(name, param)
    sql = (
        f"(coalesce(json_type(d.metadata, ?), 'object') <> 'object' AND EXISTS "
        f"(SELECT 1 FROM json_each(d.metadata, ?) AS e WHERE {test}))"
    )
    return Condition(sql, (path, path, *map(_bound_value, values)))


def _known(column: str, test: str) -> str:
    """A test of a column that is false where the column is null, and not unknown to `not`."""
    return f"coalesce({test}, 0)" if column == "granularity" else test


def _path(name: str, param: str) -> str:
    """A field of the metadata as SQLite's path."""
    first, *parts = name.split(".")
    if first != "metadata" or not parts or not all(parts) or '"' in name or "\0" in name:
        raise InvalidInput(
            f"{param}.field is {quote(name)}; use id, language, granularity or metadata.NAME "
            '(metadata.NAME.NAME inside objects; names with a dot or a " cannot be asked for)',
            f"{param}.field",
        )
    return "$" + "".join(f'."{part}"' for part in parts)


def _scalar(value: object, place: str) -> Scalar:
    if isinstance(value, str) and ("\0" in value or not _is_text(value)):
        raise InvalidInput(f"{place} is {quote(value)}, which is no text", place)
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidInput(f"{place} is {value}, which is no number of JSON", place)
    if value is None or isinstance(value, str | int | float):
        return value
    raise InvalidInput(
        f"{place} is {quote(value)}; use a string, number, true, false or null", place
    )


def _is_text(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _kind(value: Scalar) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "text" if isinstance(value, str) else "number"


def _bound_value(value: Scalar) -> str | int | float:
    assert value is not None
    if isinstance(value, int) and abs(value) > _LARGEST:
        # Beyond a float's range too: larger than any number that is stored.
        return float(value) if abs(value) < 1e308 else math.copysign(math.inf, value)
    return value


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
