from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from training.student.tokens import TokenizedCorpus, tokenize


def test_rows_units_and_tokens_are_those_of_the_table(
    clean_table: Path, tokenizer: Tokenizer, tokens: TokenizedCorpus
) -> None:
    table = pq.read_table(clean_table).to_pylist()
    assert len(tokens) == len(table)
    members = defaultdict(set)
    for row in range(len(tokens)):
        original = table[tokens.table_row[row]]
        expected = tokenizer.encode(original["text"], add_special_tokens=False).ids[:12]
        assert tokens.row(row).tolist() == expected
        assert tokens.languages[tokens.language[row]] == original["language"]
        assert tokens.granularities[tokens.granularity[row]] == original["granularity"]
        assert tokens.sources[tokens.source[row]] == original["source"]
        members[int(tokens.unit[row])].add((original["alignment_id"], original["granularity"]))
    assert all(len(labels) == 1 for labels in members.values())
    assert len({next(iter(labels)) for labels in members.values()}) == len(members) == 180
    for first, end in zip(tokens.units[:-1], tokens.units[1:], strict=True):
        is_english = tokens.language[first:end] == tokens.english
        assert is_english[0]
        assert not is_english[1:].any()


def test_equal_tokens_have_equal_keys_and_others_do_not(tokens: TokenizedCorpus) -> None:
    by_text = defaultdict(set)
    for row in range(len(tokens)):
        by_text[tuple(tokens.row(row).tolist())].add(int(tokens.text_key[row]))
    assert all(len(keys) == 1 for keys in by_text.values())
    assert len({next(iter(keys)) for keys in by_text.values()}) == len(by_text)


def test_unwanted_languages_are_left_out_and_a_second_call_reads(
    clean_table: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    first = tokenize(clean_table, tokenizer, ["de"], 4, tmp_path)
    assert first.languages == ("de", "en")
    assert len(first) == 360
    assert int(np.diff(first.offsets).max()) == 4
    before = (tmp_path / "tokens.npy").stat().st_mtime_ns
    again = tokenize(clean_table, tokenizer, ["de"], 4, tmp_path)
    assert (tmp_path / "tokens.npy").stat().st_mtime_ns == before
    np.testing.assert_array_equal(again.tokens, first.tokens)
