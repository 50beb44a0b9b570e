from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.bundle import Granularity
from tests.tiny_training import PAIRS_HEADER, write_xz
from training.corpora import build as module
from training.corpora.build import BuildOptions, build
from training.corpora.cleaning import Reason
from training.corpora.overlap import evaluation_texts, fingerprint, fingerprints
from training.corpora.rows import Defaults, Row
from training.corpora.table import SCHEMA, read_report, read_table
from training.errors import TrainingError

CC0 = Defaults(licence="CC0", granularity="sentence")


def _options(
    evaluation: Path | None = None, workers: int = 1, dropped: Path | None = None
) -> BuildOptions:
    return BuildOptions(evaluation, CC0, workers, dropped)


def _jsonl(file: Path, rows: list[dict[str, str]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def _texts(table: Path) -> dict[str, list[str]]:
    return {each.alignment_id: [row.text for row in each.rows] for each in read_table(table)}


def _dropped(report: dict[str, Any]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for source in report["sources"].values():
        total.update(source["dropped"])
    return {reason: count for reason, count in total.items() if count}


def test_planted_overlaps_are_dropped_from_every_layout_on_either_side(tmp_path: Path) -> None:
    sets, inputs = tmp_path / "eval", tmp_path / "in"
    held_out = [
        ("t", "sentence", "x.1", "en", "de", "The held-out bridge.", "Die verborgene Brücke."),
        ("t", "sentence", "x.2", "en", "ja", "Held out 2", "これは試験用の文です。"),
    ]
    write_xz(sets / "t.pairs.tsv.xz", [PAIRS_HEADER, *held_out])
    pairs = [
        ("en", "de", "THE HELD-OUT BRIDGE!", "Eine Brücke ganz für sich"),  # case, punctuation
        ("de", "en", "die  verborgene brücke", "A bridge that hides"),  # the other side, swapped
        ("en", "ja", "A line for testing only", "これは試験用の文です"),
        (
            "de",
            "fr",
            "Ｄｉｅ ｖｅｒｂｏｒｇｅｎｅ Ｂｒücke",
            "Le pont qui se cache",
        ),  # width, no English
        ("en", "de", "The bridge that may stay", "Die Brücke, die bleiben darf"),
    ]
    rows = [("p", "sentence", f"p.{n}", a, b, x, y) for n, (a, b, x, y) in enumerate(pairs)]
    write_xz(inputs / "p.pairs.tsv.xz", [PAIRS_HEADER, *rows])
    wide = [
        ("w.1", "fr", "Le pont caché dans la nuit"),
        ("w.1", "de", "Die verborgene Brücke"),  # so the French goes as well
        ("w.1", "es", "El puente oculto en la noche"),
        ("w.2", "en", "A second bridge to keep"),
        ("w.2", "fr", "Un second pont à garder"),
    ]
    write_xz(inputs / "w.sentence.wide.tsv.xz", [("id", "lang", "text"), *wide])
    # The same id in another source and granularity: a name of what is held out. Of a name that is
    # a test text itself (j.1, j.3), what is left stays.
    own = [("w.1", "en", "hidden bridge", "phrase"), ("w.1", "fr", "pont caché", "phrase")]
    own += [("j.1", "en", "held OUT: 2", "phrase"), ("j.1", "fr", "mis de côté", "phrase")]
    own += [("j.2", "en", "kept", "phrase"), ("j.2", "fr", "gardé", "phrase")]
    own += [("j.3", "en", "Held out 2!", "phrase"), ("j.3", "fr", "réservé", "phrase")]
    own += [("j.3", "de", "zurückgelegt", "phrase")]
    names = ("alignment_id", "language", "text", "granularity")
    _jsonl(inputs / "own.jsonl", [dict(zip(names, row, strict=True)) for row in own])

    out = tmp_path / "corpus.parquet"
    report = build([inputs], out, _options(sets))
    assert set(_texts(out)) == {"p.4", "w.2", "j.2", "j.3"}
    assert _texts(out)["j.3"] == ["zurückgelegt", "réservé"]
    assert _dropped(report) == {"evaluation": 8 + 3 + 2 + 1 + 1, "nothing aligned left": 1}
    banned = fingerprints(evaluation_texts(sets))
    table = pq.read_table(out)
    assert not {fingerprint(text) for text in table["text"].to_pylist()} & banned
    assert report["evaluation_fingerprints"] == len(banned) == 4

    # The plants are found by the filter, not by chance: without it they all stay.
    everything = build([inputs], tmp_path / "all.parquet", _options(None))
    assert len(_texts(tmp_path / "all.parquet")) == 10
    assert everything["evaluation_fingerprints"] is None


def test_the_table_has_its_columns_licences_and_report(tmp_path: Path) -> None:
    file = tmp_path / "omw.phrase.wide.tsv"
    file.write_text("id\tlang\ttext\nb\tde\t rot  \nb\ten\tred\na\ten\tx\n", encoding="utf-8")
    gloss = {"alignment_id": "b", "language": "de", "text": "Die Farbe des Blutes ist rot."}
    own = _jsonl(tmp_path / "own.jsonl", [{**gloss, "licence": "CC-BY 4.0"}])
    out = tmp_path / "deep" / "corpus.parquet"
    report = build([file, own], out, _options())
    table = pq.read_table(out)
    assert table.schema.remove_metadata().equals(SCHEMA)
    licences = [("omw", table["licence"][0].as_py()), ("own", "CC-BY 4.0")]
    assert table.to_pylist() == [
        dict(zip(SCHEMA.names, ("b", *licences[0], "phrase", "en", "red"), strict=True)),
        dict(zip(SCHEMA.names, ("b", *licences[0], "phrase", "de", "rot"), strict=True)),
        dict(zip(SCHEMA.names, ("b", *licences[1], "sentence", "de", gloss["text"]), strict=True)),
    ]
    assert report == read_report(out)
    omw = report["sources"]["omw"]
    assert (omw["read"], omw["normalised"], omw["kept"]) == (3, 1, 2)
    assert [(each["file"], each["rows"]) for each in report["inputs"]] == [
        ("omw.phrase.wide.tsv", 3),
        ("own.jsonl", 1),
    ]
    assert [path.name for path in out.parent.iterdir()] == ["corpus.parquet"]


def test_every_reason_is_counted_and_sampled(tmp_path: Path) -> None:
    english = "The old bridge over the river was rebuilt last summer."
    german = "Die alte Brücke über den Fluss wurde im letzten Sommer neu gebaut."
    planted = [
        ("1", "en", english),
        ("1", "de", german),
        ("1", "fr", "…"),
        ("1", "es", "El puente\x01"),
        ("1", "pt", "a"),
        ("1", "ru", english),
        ("1", "it", german),
        ("1", "de", german),
        ("1", "nl", english.lower()),
        ("1", "sv", "Bron."),
        ("2", "en", english),
        ("2", "de", german),
        ("3", "en", "held out"),
        ("3", "de", "Ein Satz daneben"),
    ]
    names = ("alignment_id", "language", "text")
    own = _jsonl(tmp_path / "o.jsonl", [dict(zip(names, row, strict=True)) for row in planted])
    write_xz(
        tmp_path / "e" / "t.pairs.tsv.xz",
        [PAIRS_HEADER, ("t", "sentence", "1", "en", "de", "Held out!", "Verwahrt")],
    )
    samples = tmp_path / "dropped.jsonl"
    report = build([own], tmp_path / "c.parquet", _options(tmp_path / "e", dropped=samples))
    assert list(_texts(tmp_path / "c.parquet").values()) == [[english, german]]
    # The Dutch row is English words: the identifier comes before the comparison with the anchor.
    wanted = dict.fromkeys(map(str, Reason), 1)
    wanted |= {"evaluation": 2, "language": 2, "untranslated": 0}
    assert report["sources"]["o"]["dropped"] == wanted
    lines = [json.loads(line) for line in samples.read_text(encoding="utf-8").splitlines()]
    assert Counter(line["reason"] for line in lines) == {k: n for k, n in wanted.items() if n}
    ratio = next(line for line in lines if line["reason"] == "length ratio")
    assert (ratio["text"], ratio["beside"]) == ("Bron.", english)


IDS = st.sampled_from([f"id{n}" for n in range(12)])
TEXTS = st.sampled_from(
    ["Stein", "Fluss", "  Haus ", "…", "家", "held out", "brick\x00", "x" * 200]
)
ROWS = st.lists(
    st.tuples(
        IDS, st.sampled_from(["en", "de", "ja"]), TEXTS, st.sampled_from(["phrase", "sentence"])
    ),
    min_size=1,
    max_size=60,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=ROWS, group_rows=st.integers(1, 20), batch_rows=st.integers(1, 7))
def test_rows_are_neither_lost_nor_made_and_ids_stand_together(
    rows: list[tuple[str, str, str, str]],
    group_rows: int,
    batch_rows: int,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path_factory.mktemp("law")
    monkeypatch.setattr(module, "ROW_GROUP_ROWS", group_rows)
    monkeypatch.setattr(module, "_BATCH_ROWS", batch_rows)
    monkeypatch.setattr(module, "_SPILL_ROWS", batch_rows)
    names = ("alignment_id", "language", "text", "granularity")
    # These always stay, so that the table is never empty.
    anchor = [("id.a", "en", "kept", "phrase"), ("id.a", "de", "behalten", "phrase")]
    own = _jsonl(folder / "o.jsonl", [dict(zip(names, row, strict=True)) for row in anchor + rows])
    report = build([own], folder / "c.parquet", _options())
    counts = report["sources"]["o"]
    assert counts["read"] == len(rows) + 2
    assert counts["read"] == counts["kept"] + sum(counts["dropped"].values())
    with pq.ParquetFile(folder / "c.parquet") as parquet:
        table = parquet.read()
        sizes = [parquet.metadata.row_group(n).num_rows for n in range(parquet.num_row_groups)]
    assert counts["kept"] == table.num_rows
    given_rows = Counter((i, lang, text.strip(), kind) for i, lang, text, kind in anchor + rows)
    kept = [tuple(each[name] for name in names) for each in table.to_pylist()]
    assert not Counter(kept) - given_rows
    ids = table["alignment_id"].to_pylist()
    assert 1 + sum(a != b for a, b in pairwise(ids)) == len(set(ids))
    assert max(sizes) <= group_rows + max(Counter(ids).values())


def test_row_groups_are_bounded_and_rows_stay_in_the_order_they_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROW_GROUP_ROWS", 10)
    monkeypatch.setattr(module, "_BATCH_ROWS", 4)
    names = ("alignment_id", "language", "text", "granularity")
    # The synonyms of an id lie far apart, in other batches.
    rows = [
        (f"id{n}", language, f"{language} {n} {synonym}", "phrase")
        for synonym in (2, 9, 1)
        for n in range(30)
        for language in ("en", "de")
    ]
    own = _jsonl(tmp_path / "o.jsonl", [dict(zip(names, row, strict=True)) for row in rows])
    build([own], tmp_path / "c.parquet", _options())
    with pq.ParquetFile(tmp_path / "c.parquet") as parquet:
        groups = [parquet.metadata.row_group(n).num_rows for n in range(parquet.num_row_groups)]
    assert groups == [12] * 15
    for alignment_id, texts in _texts(tmp_path / "c.parquet").items():
        number = alignment_id.removeprefix("id")
        assert texts == [f"{each} {number} {s}" for each in ("en", "de") for s in (2, 9, 1)]


def test_more_workers_write_the_same_table(
    corpus_folder: Path, evaluation_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BATCH_ROWS", 100)
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    reports = [
        build([corpus_folder], out, _options(evaluation_folder, workers=workers))
        for out, workers in ((one, 1), (two, 2))
    ]
    assert reports[0] == reports[1]
    assert pq.read_table(one).equals(pq.read_table(two))


def test_nothing_is_left_of_a_build_that_fails(tmp_path: Path) -> None:
    names = ("alignment_id", "language", "text")
    good = _jsonl(tmp_path / "a.jsonl", [dict(zip(names, ("1", "en", "x"), strict=True))])
    bad = tmp_path / "b.jsonl"
    bad.write_text("{\n")
    out = tmp_path / "out" / "c.parquet"
    with pytest.raises(TrainingError, match="line 1 is no JSON"):
        build([good, bad], out, _options())
    assert list(out.parent.iterdir()) == []
    with pytest.raises(TrainingError, match="no row is left of the inputs: 1 length"):
        build([good], out, _options())
    assert list(out.parent.iterdir()) == []
    out.touch()
    with pytest.raises(FileExistsError, match="exists; choose another name"):
        build([good], out, _options())


def test_a_name_its_description_and_its_translations_are_one_entity(tmp_path: Path) -> None:
    rows = [
        ("q.1", "en", "bridge", "phrase"),
        ("q.1", "de", "Brücke", "phrase"),
        ("q.1", "de", "Ein Bauwerk über einem Fluss.", "sentence"),
        ("q.2", "en", "stone", "phrase"),
        ("q.2", "de", "Stein", "phrase"),
    ]
    names = ("alignment_id", "language", "text", "granularity")
    own = _jsonl(tmp_path / "o.jsonl", [dict(zip(names, row, strict=True)) for row in rows])
    out = tmp_path / "c.parquet"
    build([own], out, _options())
    bridge, stone = sorted(read_table(out), key=lambda each: each.alignment_id)
    assert [(a.text, b.text) for a, b in bridge.cross_granularity()] == [
        ("bridge", "Ein Bauwerk über einem Fluss."),
        ("Brücke", "Ein Bauwerk über einem Fluss."),
    ]
    assert list(stone.cross_granularity()) == []
    assert bridge.texts(Granularity.PHRASE, "de") == ["Brücke"]
    assert bridge.texts(Granularity.PARAGRAPH, "de") == []


@pytest.mark.parametrize("batch_rows", [1, 2, 3, 65_536])
def test_the_reader_gives_whole_entities_whatever_its_batches(
    batch_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        Row(f"id{n}", f"s{n % 2}", "CC0", kind, language, f"{kind} {language} {n}")
        for n in range(9)
        for kind in ("phrase", "sentence")
        for language in ("en", "de", "fr")
    ]
    names = Row._fields
    own = tmp_path / "o.parquet"
    pq.write_table(pa.Table.from_pylist([row._asdict() for row in rows]), own)
    out = tmp_path / "c.parquet"
    build([own], out, _options())
    monkeypatch.setattr("training.corpora.table._BATCH_ROWS", batch_rows)
    every = list(read_table(out))
    assert sorted(each.alignment_id for each in every) == [f"id{n}" for n in range(9)]
    assert all(len(each.rows) == 6 for each in every)
    some = read_table(out, ["phrase"], ["en", "fr"], ["s1"])
    found = {row for each in some for row in each.rows}
    assert found == {
        row
        for row in rows
        if row.granularity == "phrase" and row.language != "de" and row.source == "s0"
    }
    assert names == tuple(SCHEMA.names)


def test_another_parquet_file_is_no_corpus_table(tmp_path: Path) -> None:
    other = tmp_path / "o.parquet"
    pq.write_table(pa.table({"text": ["a"]}), other)
    with pytest.raises(TrainingError, match="was not written by"):
        list(read_table(other))
    other.write_bytes(b"PAR1")
    with pytest.raises(TrainingError, match="no Parquet file"):
        read_report(other)
    newer = pa.table({name: ["x"] for name in SCHEMA.names}, schema=SCHEMA)
    metadata = {"polygrain.corpus": json.dumps({"format_version": 99})}
    pq.write_table(newer.replace_schema_metadata(metadata), other)
    with pytest.raises(TrainingError, match=r"format version 99; this program reads 1"):
        read_report(other)
