from pathlib import Path

import pytest

from models.bundle import Granularity
from tests.tiny_training import PAIRS_HEADER, write_xz
from training.corpora.tsv import Pair, corpus_files, read_pairs
from training.errors import TrainingError


def test_pairs_are_anchored_on_english_whichever_side_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "x.pairs.tsv.xz"
    rows = [
        ("s", "sentence", "1", "en", "de", "One.", "Eins."),
        ("s", "sentence", "2", "fr", "en", "Deux.", "Two."),
        ("s", "sentence", "3", "fr", "de", "Trois.", "Drei."),
        ("s", "phrase", "4", "en", "de", "four", "vier"),
    ]
    write_xz(file, [PAIRS_HEADER, *rows])
    assert list(read_pairs(file, Granularity.SENTENCE)) == [
        Pair("1", "s", "de", "One.", "Eins."),
        Pair("2", "s", "fr", "Two.", "Deux."),
    ]
    only_french = read_pairs(file, Granularity.SENTENCE, frozenset({"fr"}))
    assert [pair.id for pair in only_french] == ["2"]


def test_wide_rows_pair_with_the_english_of_their_id_even_when_it_comes_last(
    tmp_path: Path,
) -> None:
    file = tmp_path / "names.phrase.wide.tsv"
    lines = ["id\tlang\ttext", "a\tde\tRot", "b\tde\tOhne", "a\ten\tred", "a\ten\truddy"]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert list(read_pairs(file, Granularity.PHRASE)) == [Pair("a", "names", "de", "red", "Rot")]


def test_files_of_other_granularities_are_left_out(tmp_path: Path) -> None:
    for name in ("a.pairs.tsv.xz", "b.phrase.wide.tsv", "c.sentence.wide.tsv", "notes.txt"):
        (tmp_path / name).touch()
    found = [file.name for file in corpus_files(tmp_path, Granularity.PHRASE)]
    assert found == ["a.pairs.tsv.xz", "b.phrase.wide.tsv"]
    with pytest.raises(TrainingError, match="no corpus for paragraph"):
        corpus_files(tmp_path / "nowhere", Granularity.PARAGRAPH)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id\ttext\n", "columns are"),
        (b"id\tlang\ttext\nx\ten\n", "line 2: 2 columns"),
        (b"id\tlang\ttext\nx\ten\t\xff\n", "cannot be read"),
        (b"", "columns are"),
    ],
)
def test_a_file_out_of_its_layout_is_refused_with_its_place(
    tmp_path: Path, content: bytes, message: str
) -> None:
    file = tmp_path / "bad.phrase.wide.tsv"
    file.write_bytes(content)
    with pytest.raises(TrainingError, match=message):
        list(read_pairs(file, Granularity.PHRASE))


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "cut.phrase.wide.tsv.xz"
    write_xz(file, [("id", "lang", "text"), *((str(n), "en", "word") for n in range(1000))])
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(TrainingError, match="cannot be read"):
        list(read_pairs(file, Granularity.PHRASE))
