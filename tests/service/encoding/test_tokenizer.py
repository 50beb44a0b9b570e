from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers.models import BPE, Unigram
from tokenizers.pre_tokenizers import Metaspace
from tokenizers.processors import (
    BertProcessing,
    RobertaProcessing,
    TemplateProcessing,
)

from models.bundle import Bundle, BundleError
from service.encoding.tokenizer import (
    OVERLAP_SHARE,
    Row,
    Span,
    Tokenizer,
    count,
    pack,
    unpack,
    windows,
)
from tests.tiny_bundle import VOCABULARY, tiny_tokenizer, write_tiny_bundle


@given(st.integers(0, 5_000), st.integers(1, 512))
def test_windows_cover_every_token_with_overlap_and_none_too_many(
    length: int, capacity: int
) -> None:
    spans = windows(length, capacity)
    covered = np.zeros(length, bool)
    for start, end in spans:
        assert 0 <= start <= end <= length
        assert end - start <= capacity
        covered[start:end] = True
    assert covered.all()
    overlap = int(capacity * OVERLAP_SHARE)
    for before, after in pairwise(spans):
        assert before.start < after.start
        assert before.end - after.start >= overlap
    if length > capacity:
        # One window fewer, even with the least overlap, would not reach the end.
        assert len(spans) - 1 < (length - overlap) / (capacity - overlap)
        assert {end - start for start, end in spans} == {capacity}


def _xlm_roberta() -> HuggingFaceTokenizer:
    """A Unigram tokenizer with the post-processor and special ids of XLM-R."""
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [("▁", -2.0), ("▁the", -1.0), *((c, -3.0) for c in "abcdefghijklmnopqrstuvwxyz")]
    tokenizer = HuggingFaceTokenizer(Unigram(pieces, unk_id=3))
    tokenizer.pre_tokenizer = Metaspace()
    tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return tokenizer


def _open(path: Path, tokenizer: HuggingFaceTokenizer, pad: int = 0) -> Tokenizer:
    bundle = write_tiny_bundle(
        path / "bundle",
        tokenizer_json=tokenizer.to_str(),
        tokenizer={"file": "tokenizer.json", "pad_token_id": pad},
    )
    return Tokenizer.open(bundle)


def _tiny_with(processor: object) -> HuggingFaceTokenizer:
    tokenizer = tiny_tokenizer()
    tokenizer.post_processor = processor
    return tokenizer


@pytest.mark.parametrize(
    "tokenizer",
    [
        tiny_tokenizer(),
        _tiny_with(BertProcessing(("[SEP]", 3), ("[CLS]", 2))),
        _tiny_with(RobertaProcessing(("[SEP]", 3), ("[CLS]", 2))),
        _tiny_with(
            TemplateProcessing(single="[CLS] [CLS] $A", special_tokens=[("[CLS]", 2)]),
        ),
        _xlm_roberta(),
    ],
    ids=["template", "bert", "roberta", "prefix only", "xlm-r"],
)
@pytest.mark.parametrize("text", ["the cat", "a", "thebigcat sat the the the the the the the"])
def test_ids_are_those_of_the_library_itself(
    tmp_path: Path, tokenizer: HuggingFaceTokenizer, text: str
) -> None:
    ours = _open(tmp_path, tokenizer)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    (content,) = ours.content_ids([text])
    assert unpack(ours.with_specials(content)) == tokenizer.encode(text).ids
    assert count(ours.with_specials(content)) == count(content) + ours.special_count


def test_the_files_own_truncation_and_padding_do_not_count(tiny_bundle: Bundle) -> None:
    short, long = Tokenizer.open(tiny_bundle).content_ids(["cat", "cat " * 50])
    assert [count(short), count(long)] == [1, 50]


def test_rows_are_padded_on_the_right_with_the_bundles_pad_token(tmp_path: Path) -> None:
    tokenizer = _open(tmp_path, tiny_tokenizer(), pad=1)
    batch = tokenizer.pad([Row(pack([2, 7, 3]), 1), Row(pack([2, 7, 8, 9, 3]), 0)])
    assert batch.input_ids.tolist() == [[2, 7, 3, 1, 1], [2, 7, 8, 9, 3]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert batch.adapter_ids.tolist() == [1, 0]
    assert {a.dtype for a in (batch.input_ids, batch.attention_mask, batch.adapter_ids)} == {
        np.dtype(np.int64)
    }


@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=40), st.integers(0, 3)),
        min_size=1,
        max_size=20,
    )
)
def test_a_batch_is_its_rows_token_by_token(rows: list[tuple[list[int], int]]) -> None:
    tokenizer = Tokenizer(tiny_tokenizer(), [], [], 7)
    batch = tokenizer.pad([Row(pack(ids), adapter) for ids, adapter in rows])
    longest = max(len(ids) for ids, _ in rows)
    assert batch.input_ids.tolist() == [ids + [7] * (longest - len(ids)) for ids, _ in rows]
    assert batch.attention_mask.tolist() == [
        [1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in rows
    ]
    assert batch.adapter_ids.tolist() == [adapter for _, adapter in rows]


@given(st.lists(st.integers(0, 2**31 - 1), max_size=60), st.integers(0, 60), st.integers(0, 60))
def test_packed_ids_come_back_and_a_window_cuts_between_tokens(
    ids: list[int], start: int, end: int
) -> None:
    packed = pack(ids)
    assert (unpack(packed), count(packed)) == (ids, len(ids))
    assert unpack(Span(start, end).of(packed)) == ids[start:end]


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle", tokenizer_json='{"version": "9.9"}')
    with pytest.raises(BundleError, match=r"tokenizer\.json cannot be read") as caught:
        Tokenizer.open(bundle)
    assert "\n" not in str(caught.value)


def test_ids_beyond_the_vocabulary_are_refused(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle", vocabulary_size=len(VOCABULARY) - 1)
    with pytest.raises(BundleError, match=f"ids up to {len(VOCABULARY) - 1}"):
        Tokenizer.open(bundle)


def test_an_adapter_with_no_room_for_text_is_refused(tmp_path: Path) -> None:
    tokenizer = _tiny_with(
        TemplateProcessing(single="[CLS] [CLS] [CLS] $A", special_tokens=[("[CLS]", 2)])
    )
    adapters = [
        {"name": "only", "granularity": "sentence", "row": 0, "max_tokens": 3},
    ]
    bundle = write_tiny_bundle(
        tmp_path / "bundle",
        tokenizer_json=tokenizer.to_str(),
        adapters=adapters,
        routing={"phrase": "only", "sentence": "only", "paragraph": "only"},
        comparable=(),
    )
    with pytest.raises(BundleError, match="adapter only takes 3 in all: no room for text"):
        Tokenizer.open(bundle)


def test_a_tokenizer_that_loses_the_text_is_refused(tmp_path: Path) -> None:
    silent = HuggingFaceTokenizer(BPE({"[PAD]": 0}, []))
    with pytest.raises(BundleError, match="post-processor changes more"):
        _open(tmp_path, silent)
