from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.training.trimming.tokenizers_by_kind import suffix_bpe, word_level
from training.trimming.choice import choose
from training.trimming.tokenizer import Characters, Vocabulary, Why

WORDS = Vocabulary.read(word_level().to_str(), word_level().token_to_id("<pad>"))
SPECIAL = {WORDS.ids[name] for name in ("<pad>", "<s>", "</s>", "<unk>")}
COUNTS = arrays.arrays(
    np.int64, (2, WORDS.size), elements=st.integers(0, 50), fill=st.integers(0, 3)
)


@given(counts=COUNTS, coverage=st.floats(0.01, 1.0))
@settings(deadline=None)
def test_each_language_has_its_coverage_and_no_token_could_be_spared(
    counts: np.ndarray[tuple[int, int], np.dtype[np.int64]], coverage: float
) -> None:
    choice = choose(WORDS, counts, Characters.USED, coverage, None)
    kept = set(choice.why)
    assert kept >= SPECIAL
    fewest = []
    for row, share in zip(counts.tolist(), choice.coverage, strict=True):
        total = sum(row)
        covered = sum(row[token] for token in kept)
        assert covered >= coverage * total
        assert share == pytest.approx(covered / total if total else 0)
        # By hand: the specials come free, then the most used until it is enough.
        rest = sorted((n for token, n in enumerate(row) if token not in SPECIAL), reverse=True)
        have, taken = sum(row[token] for token in SPECIAL), 0
        while have < coverage * total:
            have += rest[taken]
            taken += 1
        fewest.append(taken)
    assert max(fewest) <= len(kept - SPECIAL) <= sum(fewest)


def test_everything_used_is_kept_at_full_coverage_and_nothing_else() -> None:
    counts = np.zeros((1, WORDS.size), dtype=np.int64)
    counts[0, [3, 5]] = (1, 7_000_000)
    choice = choose(WORDS, counts, Characters.USED, 1.0, None)
    assert {number for number, why in choice.why.items() if why is Why.USED} == {3, 5}
    assert choice.coverage == (1.0,)
    assert choice.counted()["special"] == len(SPECIAL)


@given(counts=COUNTS, size=st.integers(len(SPECIAL), 80))
@settings(deadline=None)
def test_a_size_is_filled_by_the_share_of_use_over_all_languages(
    counts: np.ndarray[tuple[int, int], np.dtype[np.int64]], size: int
) -> None:
    choice = choose(WORDS, counts, Characters.USED, 1.0, size)
    used = counts.sum(axis=0) > 0
    possible = len(SPECIAL | set(np.flatnonzero(used).tolist()))
    assert len(choice.why) == min(size, possible)
    share = (counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)).mean(axis=0)
    kept = [share[token] for token in choice.why if token not in SPECIAL]
    left = [share[token] for token in range(WORDS.size) if token not in choice.why]
    assert not kept or not left or min(kept) >= max(left) - 1e-12


def test_a_merged_token_brings_what_it_is_merged_from() -> None:
    tokenizer = suffix_bpe()
    vocabulary = Vocabulary.read(tokenizer.to_str(), 0)
    token = max(vocabulary.ids, key=len)
    parts = vocabulary.merged_from(token)
    characters = [*token.removesuffix("</w>")]
    assert token.endswith("</w>")
    characters[-1] += "</w>"
    assert {vocabulary.ids[each] for each in characters} <= parts
    # n characters take n - 1 merges, the last of which is the token.
    assert len(parts) <= len(set(characters)) + len(characters) - 2
    counts = np.zeros((1, vocabulary.size), dtype=np.int64)
    counts[0, vocabulary.ids[token]] = 1
    choice = choose(vocabulary, counts, Characters.USED, 1.0, None)
    assert {number for number, why in choice.why.items() if why is Why.MERGE} == parts
    # Where there is no room for the parts, the token stays out.
    room = len(vocabulary.special()) + len(parts)
    assert vocabulary.ids[token] not in choose(vocabulary, counts, Characters.USED, 1.0, room).why
    assert vocabulary.ids[token] in choose(vocabulary, counts, Characters.USED, 1.0, room + 1).why
    no_merges = replace(vocabulary, _ranks={})
    assert no_merges.merged_from(token) == frozenset()


def test_the_document_names_every_reason_in_order() -> None:
    document = (Path(__file__).parents[3] / "docs/trim.md").read_text(encoding="utf-8")
    table = document.split("| | Why |\n|---|---|\n", 1)[1].split("\n\n", 1)[0]
    assert re.findall(r"^\| ([a-z ]+) \|", table, re.MULTILINE) == [str(each) for each in Why]
