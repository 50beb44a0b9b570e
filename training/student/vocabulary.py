"""A subword vocabulary that gives every language its share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer

from training.corpora.table import read_report
from training.errors import TrainingError

PAD, UNKNOWN, START = "[PAD]", "[UNK]", "[CLS]"
SPECIAL_TOKENS = (PAD, UNKNOWN, START)
# Rarer characters become [UNK]: enough for every script and the usual Han characters.
_ALPHABET = 9000
_LONGEST_TOKEN = 16
_LONGEST_TEXT = 400
# Runs of the scripts that stand beside others without a space, Japanese kana with their kanji.
_UNSPACED = "|".join(
    rf"▁?[{script}]+"
    for script in (
        r"\p{Han}\p{Hiragana}\p{Katakana}ー",
        r"\p{Hangul}",
        r"\p{Thai}",
        r"\p{Lao}",
        r"\p{Khmer}",
        r"\p{Myanmar}",
    )
)
# One punctuation mark, symbol or digit.
_MARKS = r"▁?[\p{P}\p{S}\p{N}&&[^▁]]"
# Scripts of whole words per character: their texts say as much in half the length.
_DENSE = frozenset({"ja", "zh", "zh-Hant", "yue", "ko"})


def balanced_texts(
    table: Path,
    characters: Mapping[str, int],
    source_weights: Mapping[str, float],
    seed: int,
) -> Iterator[str]:
    """Texts of `table` up to about so many characters per language, drawn without replacement; a
    source's texts come with its weight (1 where it has none).

    Raises TrainingError where `table` is no corpus table or lacks a language.
    """
    read_report(table)
    columns = pq.read_table(table, columns=["language", "source", "text"])
    language = columns["language"].combine_chunks().dictionary_encode()
    source = columns["source"].combine_chunks().dictionary_encode()
    names = language.dictionary.to_pylist()
    if missing := sorted(set(characters) - set(names)):
        raise TrainingError(f"{table} holds nothing in {', '.join(missing)}")
    by_source = np.array([source_weights.get(name, 1.0) for name in source.dictionary.to_pylist()])
    codes, weights = language.indices.to_numpy(), by_source[source.indices.to_numpy()]
    rng = np.random.default_rng(seed)
    for name in sorted(characters):
        rows = np.flatnonzero((codes == names.index(name)) & (weights > 0))
        # A weighted order without replacement (Efraimidis and Spirakis, 2006).
        rows = rows[np.argsort(rng.exponential(size=len(rows)) / weights[rows])]
        left = characters[name] // (2 if name in _DENSE else 1)
        # Texts of five characters are the shortest that occur often: enough rows in any case.
        for text in columns["text"].take(rows[: left // 5 + 1]).to_pylist():
            yield text[:_LONGEST_TEXT]
            left -= len(text[:_LONGEST_TEXT])
            if left <= 0:
                break


def train_vocabulary(texts: Iterator[str] | Sequence[str], size: int) -> Tokenizer:
    """A lower-casing byte-pair tokenizer of `size` tokens over `texts` (Sennrich et al., 2016).

    Words are split at white space, where a script that is written without spaces begins or ends,
    and around every punctuation mark and digit, so that no token crosses these. A token that begins
    a word begins with ▁. Every text begins with [CLS].
    """
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
            # For the first word; Metaspace would leave it out after white space that was stripped.
            normalizers.Prepend(" "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="never", split=True),
            pre_tokenizers.Split(Regex(_UNSPACED), "isolated"),
            pre_tokenizers.Split(Regex(_MARKS), "isolated"),
        ]
    )
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    trainer = BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL_TOKENS),
        limit_alphabet=_ALPHABET,
        max_token_length=_LONGEST_TOKEN,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() != size:
        raise TrainingError(
            f"the corpus gives a vocabulary of {tokenizer.get_vocab_size()} tokens, not of {size}: "
            "ask for a smaller one, or bring more text"
        )
    start = tokenizer.token_to_id(START)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A", special_tokens=[(START, start)]
    )
    return tokenizer
