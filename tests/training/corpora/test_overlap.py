import json
import lzma
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tiny_training import PAIRS_HEADER, sentence, write_xz
from training.corpora.overlap import evaluation_texts, fingerprint, fingerprints, without_overlap
from training.corpora.tsv import Pair
from training.errors import TrainingError


@given(st.text())
def test_case_spaces_and_punctuation_do_not_hide_a_text(text: str) -> None:
    assert fingerprint(text) == fingerprint(f"  {text.casefold()}!? —")


def test_different_texts_differ_and_wordless_ones_have_no_fingerprint() -> None:
    assert fingerprint("Haus 1") != fingerprint("Haus 2")
    assert fingerprint("ＨＡＵＳ") == fingerprint("haus")
    assert fingerprint("… !?") is None


def test_every_text_column_of_every_kind_of_test_set_is_read(tmp_path: Path) -> None:
    write_xz(
        tmp_path / "t.pairs.tsv.xz",
        [PAIRS_HEADER, ("src", "sentence", "id1", "en", "de", "Side A", "Side B")],
    )
    write_xz(
        tmp_path / "stsb.tsv.xz",
        [
            ("split", "lang", "id", "sentence1", "sentence2", "score"),
            ("dev", "de", "i", "S1", "S2", "5"),
        ],
    )
    write_xz(
        tmp_path / "relx.tsv.xz",
        [("id", "lang", "sentence_marked", "relation"), ("1", "en", "<e1>X</e1> is here", "r")],
    )
    (tmp_path / "word_alignment").mkdir()
    (tmp_path / "docs").mkdir()
    with lzma.open(tmp_path / "word_alignment" / "w.jsonl.xz", "wt", encoding="utf-8") as out:
        out.write(json.dumps({"tokens_a": ["a", "word"], "tokens_b": ["ein", "Wort"]}) + "\n")
    with lzma.open(tmp_path / "docs" / "d.de.txt.xz", "wt", encoding="utf-8") as out:
        out.write("Zeile eins\n")
    found = {text.strip() for text in evaluation_texts(tmp_path)}
    wanted = {"Side A", "Side B", "S1", "S2", "X is here", "a word", "ein Wort", "Zeile eins"}
    assert found == wanted
    with pytest.raises(TrainingError, match="no evaluation sets"):
        list(evaluation_texts(tmp_path / "nothing"))


def test_plain_test_sets_count_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    header = ("id", "lang", "text")
    write_xz(tmp_path / "packed.sentence.wide.tsv.xz", [header, ("1", "en", "Packed text")])
    rows = "\n".join("\t".join(row) for row in (header, ("1", "en", "Plain text")))
    (tmp_path / "plain.sentence.wide.tsv").write_text(rows + "\n")
    assert set(evaluation_texts(tmp_path)) == {"Packed text", "Plain text"}
    packed = tmp_path / "packed.sentence.wide.tsv.xz"
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(TrainingError, match=r"packed.*cannot be read"):
        list(evaluation_texts(tmp_path))


def test_a_planted_overlap_on_either_side_is_dropped(evaluation_folder: Path) -> None:
    banned = fingerprints(evaluation_texts(evaluation_folder))
    english_side = Pair("1", "s", "de", f"{sentence('en', 5, 6)} 5", "etwas")
    other_side = Pair("2", "s", "de", "something", "nirgends  sonst.")
    wordless = Pair("3", "s", "de", "something", "—")
    clean = Pair("4", "s", "de", "something", "etwas anderes")
    assert list(without_overlap([english_side, other_side, wordless, clean], banned)) == [clean]
