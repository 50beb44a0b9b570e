"""Filters mean what their definition in Python means, on real rows of SQLite."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidInput
from service.retrieval.filters import MAX_DEPTH, parse_filter

Row = dict[str, Any]

ROWS: list[Row] = [
    {"id": "a", "language": "en", "granularity": "phrase", "metadata": {"n": 1, "s": "1"}},
    {"id": "b", "language": "de", "granularity": None, "metadata": {"n": "1", "s": ""}},
    {"id": "c", "language": "de", "granularity": "sentence", "metadata": {"n": 2.5, "t": True}},
    {"id": "d", "language": "zh-Hant", "granularity": "sentence", "metadata": {"n": None}},
    {"id": "e", "language": "fr", "granularity": "paragraph", "metadata": {"n": [1, "x", None]}},
    {"id": "f", "language": "fr", "granularity": "phrase", "metadata": {"n": {"s": 1, "x": "1"}}},
    {"id": "g", "language": "en", "granularity": "phrase", "metadata": {}},
    {"id": "h", "language": "en", "granularity": "phrase", "metadata": {"n": False, "s": "é 猫"}},
    {"id": "i", "language": "en", "granularity": "phrase", "metadata": {"n": [], "s": ["1", "2"]}},
    {
        "id": "j",
        "language": "en",
        "granularity": "phrase",
        "metadata": {"n": 10**30, "s": -(2**62)},
    },
]


def _database() -> sqlite3.Connection:
    database = sqlite3.connect(":memory:", check_same_thread=False)
    database.execute("CREATE TABLE documents (id, language, granularity, metadata)")
    database.executemany(
        "INSERT INTO documents VALUES (:id, :language, :granularity, :metadata)",
        [{**row, "metadata": _json(row["metadata"])} for row in ROWS],
    )
    return database


def _json(value: object) -> str:

    return json.dumps(value, ensure_ascii=False)


DATABASE = _database()


def matched(filter_: object) -> set[str]:
    condition = parse_filter(filter_)
    sql = f"SELECT id FROM documents AS d WHERE {condition.sql}"
    return {id_ for (id_,) in DATABASE.execute(sql, condition.values)}


_MISSING = object()


def _value(row: Row, field: str) -> Any:  # noqa: ANN401
    if not field.startswith("metadata."):
        return row[field] if row[field] is not None else _MISSING
    value = row["metadata"]
    for part in field.split(".")[1:]:
        if not isinstance(value, dict) or part not in value:
            return _MISSING
        value = value[part]
    return value


def _kind(value: object) -> str:
    for kind, types in (("bool", bool), ("number", (int, float)), ("text", str)):
        if isinstance(value, types):  # type: ignore[arg-type]
            return kind
    return "null" if value is None else "other"


def _same(one: object, other: object) -> bool:
    return _kind(one) == _kind(other) and one == other


_COMPARE = {
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
}


def meets(row: Row, filter_: dict[str, Any]) -> bool:
    """The filter language once more, in Python."""
    if "and" in filter_:
        return all(meets(row, each) for each in filter_["and"])
    if "or" in filter_:
        return any(meets(row, each) for each in filter_["or"])
    if "not" in filter_:
        return not meets(row, filter_["not"])
    value = _value(row, filter_["field"])
    if "exists" in filter_:
        return (value is not _MISSING) == filter_["exists"]
    values = value if isinstance(value, list) else [value]
    if "eq" in filter_:
        return any(_same(each, filter_["eq"]) for each in values)
    if "in" in filter_:
        return any(_same(each, wanted) for each in values for wanted in filter_["in"])
    bounds = filter_["range"]
    kind = _kind(next(iter(bounds.values())))
    return any(
        _kind(each) == kind and all(_COMPARE[name](each, bound) for name, bound in bounds.items())
        for each in values
    )


_numbers = st.one_of(st.integers(-3, 3), st.sampled_from([2.5, 1.0, -0.5, 10**30, -(2**62), 2**70]))
_texts = st.sampled_from(["", "1", "2", "x", "é 猫", "en", "de", "phrase"])
_scalars = st.one_of(_numbers, _texts, st.booleans(), st.none())
_fields = st.sampled_from(["metadata.n", "metadata.s", "metadata.t", "metadata.n.s", "metadata.x"])
_columns = st.sampled_from(["id", "language", "granularity"])
_bounds = st.sampled_from(["gt", "gte", "lt", "lte"])


def _ranges(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(_bounds, values, min_size=1, max_size=2)


_leaves = st.one_of(
    st.fixed_dictionaries({"field": _fields, "eq": _scalars}),
    st.fixed_dictionaries({"field": _fields, "in": st.lists(_scalars, min_size=1, max_size=4)}),
    st.fixed_dictionaries({"field": _fields, "range": _ranges(_numbers) | _ranges(_texts)}),
    st.fixed_dictionaries({"field": _fields | _columns, "exists": st.booleans()}),
    st.fixed_dictionaries({"field": _columns, "eq": _texts}),
    st.fixed_dictionaries({"field": _columns, "in": st.lists(_texts, min_size=1, max_size=3)}),
)
_filters = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"and": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"or": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"not": inner}),
    ),
    max_leaves=6,
)


@given(_filters)
def test_a_filter_matches_what_its_definition_matches(filter_: dict[str, Any]) -> None:
    assert matched(filter_) == {row["id"] for row in ROWS if meets(row, filter_)}


def test_a_range_never_compares_strings_with_numbers() -> None:
    assert matched({"field": "metadata.n", "range": {"gte": 0}}) == {"a", "c", "e", "j"}
    assert matched({"field": "metadata.n", "range": {"gte": ""}}) == {"b", "e"}
    assert matched({"field": "metadata.n", "eq": 1}) == {"a", "e"}
    assert matched({"field": "metadata.n", "eq": "1"}) == {"b"}
    assert matched({"field": "metadata.n", "eq": False}) == {"h"}


def test_long_lists_of_conditions_are_no_deep_ones() -> None:
    some = [{"field": "id", "eq": letter} for letter in "abc"] * 300
    assert matched({"or": some}) == {"a", "b", "c"}


def _nested(depth: int) -> object:
    filter_: object = {"field": "id", "eq": "a"}
    for _ in range(depth):
        filter_ = {"not": filter_}
    return filter_


@pytest.mark.parametrize(
    ("filter_", "said"),
    [
        (3, "filter is 3; send an object"),
        ({}, "filter has the keys []"),
        ({"field": "id"}, "filter has the keys ['field']"),
        ({"field": "id", "eq": "a", "in": ["b"]}, "filter has the keys ['eq', 'field', 'in']"),
        ({"field": "id", "equals": "a"}, "filter has the keys ['equals', 'field']"),
        ({"and": [], "or": []}, "filter has more than 'and' in it"),
        ({"and": []}, "filter.and is []; send a list of conditions"),
        ({"and": [{"not": 1}]}, "filter.and[0].not is 1"),
        ({"field": "year", "eq": 1}, "filter.field is 'year'; use id, language"),
        ({"field": 'metadata.a"b', "eq": 1}, 'names with a dot or a " cannot be asked for'),
        ({"field": "metadata.", "eq": 1}, "filter.field is 'metadata.'"),
        ({"field": "id", "eq": 1}, "filter.eq compares id, a string"),
        ({"field": "id", "range": {"gt": 1}}, "filter.range compares id, a string"),
        ({"field": "metadata.n", "range": {"gt": 1, "lt": "2"}}, "all numbers or all strings"),
        ({"field": "metadata.n", "range": {"gt": True}}, "all numbers or all strings"),
        ({"field": "metadata.n", "range": {"above": 1}}, "send an object with some of gt, gte"),
        ({"field": "metadata.n", "in": []}, "filter.in must be a list of 1 to 1000"),
        ({"field": "metadata.n", "eq": {"a": 1}}, "use a string, number, true, false or null"),
        ({"field": "metadata.n", "exists": 1}, "filter.exists is 1; use true or false"),
        (_nested(MAX_DEPTH), "deeper than 16 levels"),
        ({"field": "metadata.n", "eq": float("nan")}, "no number of JSON"),
        ({"field": "metadata.n", "eq": "a\0"}, "which is no text"),
    ],
)
def test_what_is_no_filter_is_refused_by_its_place(filter_: object, said: str) -> None:
    with pytest.raises(InvalidInput) as error:
        parse_filter(filter_)
    assert said in error.value.message
    assert error.value.param is not None
    assert error.value.param.startswith("filter")
