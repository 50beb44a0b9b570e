"""Small tokenizers of every kind that can be cut, trained here on the tiny corpus's words."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from tests.tiny_training import LANGUAGES, sentence

BYTES = [f"<0x{number:02X}>" for number in range(256)]
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]
TEXTS = [sentence(language, number, 6) for language in ("en", *LANGUAGES) for number in range(40)]


def _template(tokenizer: Tokenizer) -> None:
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair=None,
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("<s>", "</s>")],
    )


def word_piece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=700, special_tokens=SPECIAL, show_progress=False, min_frequency=1
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.BertProcessing(
        ("</s>", tokenizer.token_to_id("</s>")), ("<s>", tokenizer.token_to_id("<s>"))
    )
    return tokenizer


def word_level() -> Tokenizer:
    words = sorted({word for text in TEXTS for word in text.split()})
    # Special tokens among the others, as in BERT.
    tokens = [*words[:20], *SPECIAL, *words[20:]]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    _template(tokenizer)
    return tokenizer


def byte_level_bpe() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.RobertaProcessing(("</s>", 2), ("<s>", 1)),
        ]
    )
    return tokenizer


def suffix_bpe() -> Tokenizer:
    """Characters, an unknown token, a mark at the end of a word."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=SPECIAL, end_of_word_suffix="</w>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    _template(tokenizer)
    return tokenizer


def prefix_bpe() -> Tokenizer:
    """Characters, an unknown token, a mark inside a word."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", continuing_subword_prefix="##"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=SPECIAL, continuing_subword_prefix="##", show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    _template(tokenizer)
    return tokenizer


def fallback_bpe() -> Tokenizer:
    """Characters, and the bytes of those that it lacks; merges may hold spaces."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=[*SPECIAL, *BYTES], show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    _template(tokenizer)
    # The trainer knows no bytes but special tokens, which they are in no file out there.
    values = json.loads(tokenizer.to_str())
    values["added_tokens"] = [t for t in values["added_tokens"] if t["content"] in SPECIAL]
    return Tokenizer.from_str(json.dumps(values))


def _unigram(byte_fallback: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=600, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    if byte_fallback:
        pieces = [(tokenizer.id_to_token(i), -float(i)) for i in range(tokenizer.get_vocab_size())]
        pieces += [(byte, -2000.0) for byte in BYTES]
        tokenizer.model = models.Unigram(pieces, unk_id=3, byte_fallback=True)
    # One token that the model lacks, as the mask of XLM-R stands in some files.
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    _template(tokenizer)
    return tokenizer


def unigram() -> Tokenizer:
    return _unigram(byte_fallback=False)


def fallback_unigram() -> Tokenizer:
    return _unigram(byte_fallback=True)


KINDS: tuple[Callable[[], Tokenizer], ...] = tuple(
    cache(make)
    for make in (
        *(word_piece, word_level, byte_level_bpe, suffix_bpe, prefix_bpe, fallback_bpe),
        *(unigram, fallback_unigram),
    )
)
