"""A corpus table as token ids: flat arrays on disk, tokenised once and mapped by every stage."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tokenizers import Tokenizer
from tqdm import tqdm

from models.bundle import TEXT_GRANULARITIES
from training.corpora.table import read_report
from training.corpora.tsv import ANCHOR
from training.files import replace

IntVector = np.ndarray[tuple[int], np.dtype[np.int64]]

_BATCH_ROWS = 65_536
_COLUMNS = ["alignment_id", "language", "granularity", "source", "text"]
NAMES_FILE = "names.json"


@dataclass(frozen=True, slots=True)
class TokenizedCorpus:
    """Rows of a corpus table that are in the wanted languages, as token ids.

    Rows that say the same thing at the same granularity stand next to each other and make a
    *unit*; within a unit English comes first. All arrays are memory-mapped.

    - `tokens` uint32 (all tokens,) and `offsets` int64 (rows + 1,): row r is
      tokens[offsets[r]:offsets[r + 1]], without special tokens.
    - `language`, `granularity`, `source` uint16 (rows,): indexes into the three lists of names.
    - `unit` int64 (rows,): rising; `units` int64 (units + 1,): the first row of each.
    - `table_row` int64 (rows,): the row's place in the corpus table.
    - `text_key` uint64 (rows,): equal for rows with equal tokens.
    """

    tokens: np.ndarray[tuple[int], np.dtype[np.uint32]]
    offsets: IntVector
    language: np.ndarray[tuple[int], np.dtype[np.uint16]]
    granularity: np.ndarray[tuple[int], np.dtype[np.uint16]]
    source: np.ndarray[tuple[int], np.dtype[np.uint16]]
    unit: IntVector
    units: IntVector
    table_row: IntVector
    text_key: np.ndarray[tuple[int], np.dtype[np.uint64]]
    languages: tuple[str, ...]
    granularities: tuple[str, ...]
    sources: tuple[str, ...]

    @classmethod
    def open(cls, folder: Path) -> TokenizedCorpus:
        """Map what `tokenize` wrote."""
        names = json.loads((folder / NAMES_FILE).read_text(encoding="utf-8"))
        parts: dict[str, Any] = {key: tuple(values) for key, values in names.items()}
        for name in _ARRAYS:
            parts[name] = np.load(folder / f"{name}.npy", mmap_mode="r")
        return cls(**parts)

    def __len__(self) -> int:
        return len(self.language)

    @property
    def english(self) -> int:
        """The index of English among `languages`."""
        return self.languages.index(ANCHOR)

    def row(self, index: int) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
        """The token ids of one row."""
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]


_ARRAYS = (
    "tokens",
    "offsets",
    "language",
    "granularity",
    "source",
    "unit",
    "units",
    "table_row",
    "text_key",
)


def tokenize(
    table: Path, tokenizer: Tokenizer, languages: Sequence[str], max_tokens: int, folder: Path
) -> TokenizedCorpus:
    """Tokenise the rows of `table` in `languages` (English is always among them), each cut to
    `max_tokens` ids, and write them into `folder`; what is there already is opened as it is.

    Raises TrainingError where `table` is no corpus table.
    """
    if (folder / NAMES_FILE).exists():
        return TokenizedCorpus.open(folder)
    read_report(table)
    names = tuple(sorted({ANCHOR, *languages}))
    granularities = tuple(str(each) for each in TEXT_GRANULARITIES)
    sources: list[str] = []
    parts: dict[str, list[np.ndarray[tuple[int], np.dtype[Any]]]] = defaultdict(list)
    group, last_id, position = -1, "", 0
    with (
        pq.ParquetFile(table) as parquet,
        tqdm(total=parquet.metadata.num_rows, unit="row", desc="tokenise") as bar,
    ):
        for batch in parquet.iter_batches(_BATCH_ROWS, columns=_COLUMNS):
            ids = batch["alignment_id"]
            starts = pc.not_equal(ids, pa.concat_arrays([pa.array([last_id]), ids[:-1]]))
            groups = group + np.cumsum(starts.to_numpy(zero_copy_only=False))
            group, last_id = int(groups[-1]), ids[-1].as_py()
            sources += [
                name for name in pc.unique(batch["source"]).to_pylist() if name not in sources
            ]
            wanted = pc.is_in(batch["language"], pa.array(names)).to_numpy(zero_copy_only=False)
            kept = batch.filter(pa.array(wanted))
            encodings = tokenizer.encode_batch_fast(
                kept["text"].to_pylist(), add_special_tokens=False
            )
            rows = [encoding.ids[:max_tokens] for encoding in encodings]
            parts["lengths"].append(np.array([len(row) for row in rows], np.int64))
            parts["tokens"].append(np.array([id_ for row in rows for id_ in row], np.uint32))
            parts["language"].append(_index(kept["language"], names))
            parts["granularity"].append(_index(kept["granularity"], granularities))
            parts["source"].append(_index(kept["source"], sources))
            parts["group"].append(groups[wanted])
            parts["table_row"].append(position + np.flatnonzero(wanted))
            position += len(batch)
            bar.update(len(batch))
    flat = {name: np.concatenate(each) for name, each in parts.items()}
    _write(folder, flat, {"languages": names, "granularities": granularities, "sources": sources})
    return TokenizedCorpus.open(folder)


def ranges(begins: IntVector, counts: IntVector) -> IntVector:
    """`counts[i]` numbers from `begins[i]` on, one i after the other: int64 (sum of counts,)."""
    starts = np.cumsum(counts) - counts
    numbers: IntVector = np.arange(counts.sum()) + np.repeat(begins - starts, counts)
    return numbers


def _index(column: pa.Array, names: Sequence[str]) -> IntVector:
    places: IntVector = pc.index_in(column, pa.array(names)).to_numpy().astype(np.int64)
    return places


def _write(
    folder: Path,
    flat: dict[str, np.ndarray[tuple[int], np.dtype[Any]]],
    names: dict[str, Sequence[str]],
) -> None:
    lengths = flat["lengths"]
    starts = np.cumsum(lengths) - lengths
    english = names["languages"].index(ANCHOR)
    # Units: same alignment id, same granularity; English first, else in the table's order.
    order = np.lexsort(
        (np.arange(len(lengths)), flat["language"] != english, flat["granularity"], flat["group"])
    )
    order = order[lengths[order] > 0]
    label = flat["group"][order] * len(names["granularities"]) + flat["granularity"][order]
    first = np.concatenate([[True], label[1:] != label[:-1]])
    offsets = np.concatenate([[0], np.cumsum(lengths[order])])
    tokens = flat["tokens"][ranges(starts[order], lengths[order])].astype(np.uint32)
    arrays = {
        "tokens": tokens,
        "offsets": offsets,
        "language": flat["language"][order].astype(np.uint16),
        "granularity": flat["granularity"][order].astype(np.uint16),
        "source": flat["source"][order].astype(np.uint16),
        "unit": np.cumsum(first) - 1,
        "units": np.concatenate([np.flatnonzero(first), [len(order)]]).astype(np.int64),
        "table_row": flat["table_row"][order].astype(np.int64),
        "text_key": _keys(tokens, offsets),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    # Last, so that a cut leaves a folder that is written anew.
    replace(folder / NAMES_FILE, lambda path: path.write_text(json.dumps(names), "utf-8"))


def _keys(
    tokens: np.ndarray[tuple[int], np.dtype[np.uint32]], offsets: IntVector
) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """A 64-bit polynomial hash of each row's tokens (mixed well before it is summed)."""
    lengths = np.diff(offsets)
    within = ranges(np.zeros_like(lengths), lengths).astype(np.uint64)
    mixed = tokens.astype(np.uint64) + (within + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    return np.add.reduceat(mixed, offsets[:-1])
