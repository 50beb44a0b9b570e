"""Every kind of input gives the same rows, and says where it is broken."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.tiny_training import PAIRS_HEADER, write_xz
from training.corpora.rows import Defaults, Row, input_files, read_rows
from training.corpora.sources import known_sources
from training.errors import TrainingError

CC0 = Defaults(licence="CC0")


def test_pairs_become_two_rows_and_a_repeated_english_one(tmp_path: Path) -> None:
    file = tmp_path / "x.pairs.tsv.xz"
    write_xz(
        file,
        [
            PAIRS_HEADER,
            ("s", "sentence", "1", "en", "de", "One.", "Eins."),
            ("s", "sentence", "1", "fr", "en", "Un.", "One."),
            ("s", "phrase", "2", "ja", "de", "三", "drei"),
        ],
    )
    assert list(read_rows(file, CC0)) == [
        Row("1", "s", "CC0", "sentence", "en", "One."),
        Row("1", "s", "CC0", "sentence", "de", "Eins."),
        Row("1", "s", "CC0", "sentence", "fr", "Un."),
        Row("2", "s", "CC0", "phrase", "ja", "三"),
        Row("2", "s", "CC0", "phrase", "de", "drei"),
    ]


def test_an_id_with_two_english_texts_keeps_every_translation_with_its_own(tmp_path: Path) -> None:
    file = tmp_path / "x.pairs.tsv.xz"
    pairs = [("Save", "Speichern"), ("Rescue", "Retten"), ("Save", "Sichern"), ("Rescue", "Bergen")]
    rows = [("s", "phrase", "1", "en", "de", *pair) for pair in pairs]
    write_xz(file, [PAIRS_HEADER, *rows])
    by_id: dict[str, list[str]] = {}
    for row in read_rows(file, CC0):
        by_id.setdefault(row.alignment_id, []).append(row.text)
    assert sorted(by_id.values()) == [
        ["Rescue", "Retten", "Bergen"],
        ["Save", "Speichern", "Sichern"],
    ]
    assert "1" in by_id


def test_wide_files_take_source_and_granularity_from_their_name(tmp_path: Path) -> None:
    file = tmp_path / "names.phrase.wide.tsv"
    file.write_text("id\tlang\ttext\na\teng_Latn\tred\na\tde\trot\n", encoding="utf-8")
    assert list(read_rows(file, CC0)) == [
        Row("a", "names", "CC0", "phrase", "en", "red"),
        Row("a", "names", "CC0", "phrase", "de", "rot"),
    ]


ROWS = [
    {"alignment_id": "k.1", "language": "en", "text": "A stone", "extra": "x"},
    {"alignment_id": "k.1", "language": "de", "text": "Ein Stein", "extra": "y"},
]
FULL = {"source": "mine", "licence": "CC-BY 4.0", "granularity": "phrase"}


def _write_jsonl(file: Path, rows: Sequence[dict[str, str]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _write_tsv(file: Path, rows: Sequence[dict[str, str]]) -> None:
    lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_parquet(file: Path, rows: Sequence[dict[str, str]]) -> None:
    pq.write_table(pa.Table.from_pylist(list(rows)), file)


OWN_KINDS = [("jsonl", _write_jsonl), ("tsv", _write_tsv), ("parquet", _write_parquet)]
Write = Callable[[Path, Sequence[dict[str, str]]], None]


@pytest.mark.parametrize(("ending", "write"), OWN_KINDS)
def test_a_users_own_file_needs_three_columns_and_may_have_six(
    ending: str, write: Write, tmp_path: Path
) -> None:
    file = tmp_path / f"notes.{ending}"
    write(file, [{**row, **FULL} for row in ROWS])
    texts = [("en", "A stone"), ("de", "Ein Stein")]
    assert list(read_rows(file)) == [
        Row("k.1", "mine", "CC-BY 4.0", "phrase", *each) for each in texts
    ]
    write(file, ROWS)
    assert list(read_rows(file, Defaults("CC0", "sentence"))) == [
        Row("k.1", "notes", "CC0", "sentence", *each) for each in texts
    ]
    with pytest.raises(TrainingError, match="licence of source 'notes' is not known; give it as"):
        list(read_rows(file, Defaults(granularity="sentence")))
    with pytest.raises(TrainingError, match=r"row \d: granularity is ''; use one of phrase"):
        list(read_rows(file, CC0))
    write(file, [{"alignment_id": "1", "language": "en"}])
    with pytest.raises(TrainingError, match="text"):
        list(read_rows(file, Defaults("CC0", "sentence")))


def test_a_known_source_brings_its_licence(tmp_path: Path) -> None:
    file = tmp_path / "omw.phrase.wide.tsv"
    file.write_text("id\tlang\ttext\na\ten\tred\n", encoding="utf-8")
    assert [row.licence for row in read_rows(file)] == [known_sources()["omw"].licence]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"alignment_id": 7, "language": "en", "text": "x"}\n', "alignment_id is '7'"),
        ("a.jsonl", b'{"alignment_id": "", "language": "en", "text": "x"}\n', "alignment_id is ''"),
        ("a.jsonl", b'\n{"alignment_id"\n', "line 2 is no JSON"),
        ("a.jsonl", b"[1]\n", "line 1 is no JSON object"),
        (
            "a.jsonl",
            b'{"alignment_id": "1", "language": "en", "text": "\\ud800"}\n',
            "half a surrogate pair",
        ),
        ("a.jsonl", b'{"text": "\xff"}\n', "cannot be read"),
        ("a.tsv", b"alignment_id\tlanguage\ttext\n1\ten\n", "line 2: 2 columns; expected 3"),
        ("a.tsv", b"alignment_id\ttext\n", "has no column language"),
        ("a.parquet", b"PAR1 not", "cannot be read"),
        ("a.pairs.tsv", b"id\n", "columns are"),
        ("a.book.wide.tsv", b"id\tlang\ttext\n", "granularity is 'book'"),
        ("a.wide.tsv", b"id\tlang\ttext\n", "granularity is ''"),
        (
            "a.pairs.tsv",
            "\t".join(PAIRS_HEADER).encode() + b"\ns\tword\t1\ten\tde\ta\tb\n",
            "row 2: granularity is 'word'",
        ),
    ],
)
def test_a_broken_file_is_refused_with_its_place(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TrainingError, match=message):
        list(read_rows(tmp_path / name, Defaults("CC0", "phrase" if name == "a.jsonl" else None)))


def test_a_folder_gives_its_corpus_files_and_names_the_others(tmp_path: Path) -> None:
    for name in ("b.pairs.tsv.xz", "a.phrase.wide.tsv", "c.jsonl", "d.parquet", "README.md"):
        (tmp_path / name).touch()
    (tmp_path / ".hidden.jsonl").touch()
    (tmp_path / "licences.tsv").write_text("project\tlicence\n")
    (tmp_path / "own.tsv").write_text("text\talignment_id\tlanguage\n")
    files, skipped = input_files([tmp_path, tmp_path / "c.jsonl"])
    assert [file.name for file in files] == [
        "a.phrase.wide.tsv",
        "b.pairs.tsv.xz",
        "c.jsonl",
        "d.parquet",
        "own.tsv",
    ]
    assert [file.name for file in skipped] == ["README.md", "licences.tsv"]
    with pytest.raises(TrainingError, match=r"README.md is of no known kind; name it NAME"):
        input_files([tmp_path / "README.md"])
    with pytest.raises(TrainingError, match="does not exist"):
        input_files([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingError, match="hold no corpus file"):
        input_files([tmp_path / "empty"])
