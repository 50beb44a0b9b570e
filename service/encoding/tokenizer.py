"""From texts to padded model inputs: token ids, windows over long texts, batches."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as HuggingFaceTokenizer

from models.bundle import Bundle, BundleError

# Neighbouring windows share at least this part of a window, so that no sentence of ordinary length
# is seen only in two halves.
OVERLAP_SHARE = 1 / 8

Integers = NDArray[np.int64]


class LongText(StrEnum):
    """What becomes of a text with more tokens than its adapter takes."""

    WINDOW = "window"
    TRUNCATE = "truncate"
    ERROR = "error"


# Token ids in a row, int32 in native order. Bytes take a fraction of the memory of a tuple of
# integers, keep their hash, and many become one array without a loop over tokens.
Ids = bytes
_ID_TYPE = np.dtype(np.int32)


def pack(ids: Sequence[int]) -> Ids:
    """Token ids as `Row` holds them."""
    return array("i", ids).tobytes()


def unpack(ids: Ids) -> list[int]:
    """What `pack` was given."""
    return array("i", ids).tolist()


def count(ids: Ids) -> int:
    """How many tokens there are in `ids`."""
    return len(ids) // _ID_TYPE.itemsize


@dataclass(frozen=True, slots=True)
class Row:
    """One input of the model: ids with special tokens, the adapter, and whether to normalise."""

    ids: Ids
    adapter_row: int
    normalize: bool = True
    # Whether the states of its tokens are wanted and not its vector.
    states: bool = False

    def __len__(self) -> int:
        return count(self.ids)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows side by side, filled up to the longest."""

    input_ids: Integers  # (batch, tokens)
    attention_mask: Integers  # (batch, tokens), 1 where a token is real
    adapter_ids: Integers  # (batch,)


class Span(NamedTuple):
    """A window over the content tokens of a text: start and end, the end excluded."""

    start: int
    end: int

    def of(self, ids: Ids) -> Ids:
        """The ids in this window."""
        return ids[self.start * _ID_TYPE.itemsize : self.end * _ID_TYPE.itemsize]


def windows(length: int, capacity: int) -> list[Span]:
    """Cut `length` tokens into the fewest windows of at most `capacity`, evenly spread.

    Every token is in a window; neighbours share at least `OVERLAP_SHARE` of a window; where there
    is more than one, all are full, so they fill a batch without padding.
    """
    if length <= capacity:
        return [Span(0, length)]
    overlap = int(capacity * OVERLAP_SHARE)
    count = -(-(length - overlap) // (capacity - overlap))
    slack = length - capacity
    starts = [index * slack // (count - 1) for index in range(count)]
    return [Span(start, start + capacity) for start in starts]


class Tokenizer:
    """The bundle's tokenizer, with this service's own truncation, windows and padding."""

    def __init__(
        self, tokenizer: HuggingFaceTokenizer, prefix: list[int], suffix: list[int], pad_id: int
    ) -> None:
        self._tokenizer = tokenizer
        self._prefix = pack(prefix)
        self._suffix = pack(suffix)
        self._pad_id = pad_id
        self.prefix_count = len(prefix)
        """How many of the special tokens stand before a text."""
        self.special_count = len(prefix) + len(suffix)
        """How many special tokens stand around every text."""

    @classmethod
    def open(cls, bundle: Bundle) -> Tokenizer:
        """The tokenizer of `bundle`; BundleError where it does not fit the rest of the bundle."""
        manifest = bundle.manifest
        name = manifest.tokenizer.file
        where = f"bundle {bundle.path}: {name}"
        try:
            tokenizer = HuggingFaceTokenizer.from_file(str(bundle.file(name)))
        except Exception as error:  # the library raises bare Exception
            raise BundleError(f"{where} cannot be read: {error}") from None
        # The file may carry the trainer's own limits; ours come from the manifest.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        largest = max(tokenizer.get_vocab(with_added_tokens=True).values())
        if largest >= manifest.vocabulary_size:
            raise BundleError(
                f"{where} has ids up to {largest}, but vocabulary_size is "
                f"{manifest.vocabulary_size}"
            )
        prefix, suffix = _special_tokens(tokenizer, where)
        for adapter in manifest.adapters:
            if adapter.max_tokens <= len(prefix) + len(suffix):
                raise BundleError(
                    f"{where} adds {len(prefix) + len(suffix)} special tokens, adapter "
                    f"{adapter.name} takes {adapter.max_tokens} in all: no room for text"
                )
        return cls(tokenizer, prefix, suffix, manifest.tokenizer.pad_token_id)

    def content_ids(self, texts: Sequence[str]) -> list[Ids]:
        """The token ids of each text, whole, without special tokens. Safe in any thread."""
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [pack(encoding.ids) for encoding in encodings]

    def content_with_offsets(self, texts: Sequence[str]) -> list[tuple[Ids, Integers]]:
        """As `content_ids`, and where each token stands in its text.

        Offsets are (tokens, 2), characters from and up to, the latter excluded.
        """
        encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [
            (pack(encoding.ids), np.array(encoding.offsets, np.int64).reshape(-1, 2))
            for encoding in encodings
        ]

    def with_specials(self, content: Ids) -> Ids:
        """`content` as the model was trained to see it, special tokens around it."""
        return self._prefix + content + self._suffix

    def pad(self, rows: Sequence[Row]) -> Batch:
        """Rows as one batch, as long as the longest of them."""
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        real = np.arange(lengths.max()) < lengths[:, np.newaxis]
        input_ids = np.full(real.shape, self._pad_id, np.int64)
        input_ids[real] = np.frombuffer(b"".join(row.ids for row in rows), _ID_TYPE)
        adapter_ids = np.fromiter((row.adapter_row for row in rows), np.int64, len(rows))
        return Batch(input_ids, real.astype(np.int64), adapter_ids)


def _special_tokens(tokenizer: HuggingFaceTokenizer, where: str) -> tuple[list[int], list[int]]:
    """The ids that the post-processor puts before and after a text.

    Read off one probe text instead of names such as [CLS], so BERT's and XLM-R's way both work.
    """
    probe = "a"
    bare: list[int] = tokenizer.encode(probe, add_special_tokens=False).ids
    full: list[int] = tokenizer.encode(probe, add_special_tokens=True).ids
    for start in range(len(full) - len(bare) + 1):
        if bare and full[start : start + len(bare)] == bare:
            return full[:start], full[start + len(bare) :]
    raise BundleError(
        f"{where}: its post-processor changes more than the two ends of a text; "
        f"{probe!r} is {bare} without special tokens and {full} with them"
    )
