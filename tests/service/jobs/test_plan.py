"""Shards: every row once and in order, however the file lies and wherever reading begins."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import InvalidInput
from service.jobs.plan import Plan, Shard, ShardReader, cut, make_plan
from service.jobs.sources import Source
from service.rows import BadRow, Columns, Row, format_of


@given(
    sizes=st.lists(st.integers(1, 50), max_size=60),
    offset=st.integers(0, 20),
    max_rows=st.integers(1, 9),
    max_bytes=st.integers(1, 120),
)
def test_every_row_is_in_one_shard_and_they_are_in_order(
    sizes: list[int], offset: int, max_rows: int, max_bytes: int
) -> None:
    shards = list(cut(sizes, offset, max_rows, max_bytes))
    ranges = [range(shard.first_row, shard.first_row + shard.rows) for shard in shards]
    assert list(itertools.chain(*ranges)) == list(range(len(sizes)))
    assert [shard.number for shard in shards] == list(range(len(shards)))
    for shard, rows in zip(shards, ranges, strict=True):
        assert shard.offset == offset + sum(sizes[: shard.first_row])
        assert 1 <= len(rows) <= max_rows
        # Only the last row may reach the limit of bytes.
        assert sum(sizes[row] for row in rows[:-1]) < max_bytes


def _source(path: Path) -> Source:
    return Source(path, path.name, format_of(path.name) or "lines", Columns())


def _written(folder: Path, name: str, lines: list[bytes]) -> Source:
    content = b"\n".join(lines)
    path = folder / name
    if path.suffix == ".gz":
        content = gzip.compress(content)
    elif path.suffix == ".zst":
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(content)
        content = sink.getvalue().to_pybytes()
    path.write_bytes(content)
    return _source(path)


def _plan(source: Source, max_rows: int = 3) -> Plan:
    """The plan of a file, in shards of a few rows."""
    plan = make_plan(source, 1_000, lambda done, total: None)
    sizes = [size for size, _ in _sizes(source, plan)]
    shards = tuple(cut(sizes, plan.shards[0].offset, max_rows))
    return Plan(plan.mark, plan.header, plan.rows, shards, plan.line_bytes)


def _sizes(source: Source, plan: Plan) -> list[tuple[int, bytes | None]]:
    from service.rows import opened, raw_lines

    with opened(source.path) as (file, _):
        lines = list(raw_lines(file, plan.line_bytes))
    return lines[1:] if source.format == "tsv" else lines


LINES = [b"one", b"two \xc3\xa9", b"\xff", b"", b"five", b"six\r", b"x" * 2_000, b"eight"]


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_a_file_is_read_from_any_shard_on(tmp_path: Path, ending: str) -> None:
    source = _written(tmp_path, f"a.txt{ending}", LINES)
    plan = _plan(source)
    assert plan.rows == 8
    assert [shard.rows for shard in plan.shards] == [3, 3, 2]
    expected = [
        Row(1, {"text": "one"}),
        Row(2, {"text": "two é"}),
        BadRow(3, "is not UTF-8 (byte 0)"),
        BadRow(4, "is blank", blank=True),
        Row(5, {"text": "five"}),
        Row(6, {"text": "six"}),
        BadRow(7, "is longer than 1000 bytes"),
        Row(8, {"text": "eight"}),
    ]
    for order in itertools.permutations(plan.shards):
        with ShardReader(source, plan) as reader:
            for shard in order:
                wanted = expected[shard.first_row : shard.first_row + shard.rows]
                assert reader.read(shard) == wanted


def test_rows_of_tables_keep_the_numbers_of_their_lines(tmp_path: Path) -> None:
    tsv = _written(tmp_path, "a.tsv", [b"id\ttext", b"a\tone", b"b", b"c\tthree"])
    plan = _plan(tsv, max_rows=2)
    with ShardReader(tsv, plan) as reader:
        assert reader.read(plan.shards[1]) == [Row(4, {"id": "c", "text": "three"})]
        assert reader.read(plan.shards[0]) == [
            Row(2, {"id": "a", "text": "one"}),
            BadRow(3, "has 1 columns and the header 2"),
        ]
    jsonl = _written(tmp_path, "a.jsonl", [b'{"text": "one"}', b"[1]", b"{"])
    plan = _plan(jsonl)
    with ShardReader(jsonl, plan) as reader:
        good, no_object, no_json = reader.read(plan.shards[0])
    assert good == Row(1, {"text": "one"})
    assert no_object == BadRow(2, "is no object of JSON")
    assert isinstance(no_json, BadRow)


@settings(max_examples=20)
@given(groups=st.lists(st.integers(0, 7), max_size=5), start=st.integers(0, 30))
def test_parquet_is_read_from_any_row_on(
    tmp_path_factory: pytest.TempPathFactory, groups: list[int], start: int
) -> None:
    path = tmp_path_factory.mktemp("parquet") / "a.parquet"
    schema = pa.schema([("text", pa.string())])
    total = sum(groups)
    with pq.ParquetWriter(path, schema) as writer:
        texts = iter(range(total))
        for rows in groups:
            some = [f"text {next(texts)}" for _ in range(rows)]
            writer.write_table(pa.table({"text": pa.array(some, pa.string())}))
    source = _source(path)
    plan = make_plan(source, 1_000, lambda done, all_: None)
    assert plan.rows == total
    start = min(start, total)
    with ShardReader(source, plan) as reader:
        found = reader.read(Shard(0, start, total - start, 0))
    assert found == [Row(row + 1, {"text": f"text {row}"}) for row in range(start, total)]


def test_a_plan_is_what_was_written_of_it(tmp_path: Path) -> None:
    plan = _plan(_written(tmp_path, "a.tsv", [b"id\ttext", *[b"a\tb"] * 7]))
    plan.write(tmp_path / "plan.json")
    assert Plan.read(tmp_path / "plan.json") == plan


def test_a_file_that_is_changed_under_a_job_is_not_read_on(tmp_path: Path) -> None:
    source = _written(tmp_path, "a.txt", LINES)
    plan = _plan(source)
    source.path.write_bytes(b"other\n" * 20)
    with ShardReader(source, plan) as reader, pytest.raises(InvalidInput, match="was changed"):
        reader.read(plan.shards[0])


@pytest.mark.parametrize(
    ("name", "content"), [("a.txt.gz", b"no gzip"), ("a.txt.zst", b"no zstd"), ("a.parquet", b"no")]
)
def test_a_file_that_is_not_what_its_name_says_is_refused(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=r"cannot be read|is no Parquet"):
        make_plan(_source(tmp_path / name), 1_000, lambda done, total: None)
