"""Texts of every language and adapter, drawn from a corpus table to calibrate and measure on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from models.bundle import TEXT_GRANULARITIES, Bundle
from training.corpora.table import read_report
from training.errors import TrainingError

_BATCH_ROWS = 65_536
_COLUMNS = ["alignment_id", "granularity", "language", "text"]


@dataclass(frozen=True, slots=True)
class Text:
    """A text as the model reads it."""

    alignment_id: str
    language: str
    ids: tuple[int, ...]  # cut at the adapter's limit, special tokens included
    adapter_row: int


def draw(
    table: Path, bundle: Bundle, calibration: int, measured: int, seed: int = 0
) -> tuple[list[Text], list[Text]]:
    """About `calibration` and about `measured` texts, in equal parts from each language of the
    bundle in each granularity, read by the adapter that the granularity routes to.

    No entity of the table is in both. Raises TrainingError where `table` is no corpus table, or
    has too few texts.
    """
    manifest = bundle.manifest
    cells = len(manifest.languages) * len(TEXT_GRANULARITIES)
    # Twice as many, since translations of one entity may fall on both sides and are left out.
    share = -(-2 * (calibration + measured) // cells)
    rows = _sample(table, manifest.languages, share, np.random.default_rng(seed))
    tokenizer = Tokenizer.from_file(str(bundle.file(manifest.tokenizer.file)))
    tokenizer.no_padding()
    adapters = {g: manifest.adapter(manifest.routing[g]) for g in TEXT_GRANULARITIES}
    sides: tuple[list[Text], list[Text]] = ([], [])
    entities: tuple[set[str], set[str]] = (set(), set())
    wanted = (calibration, measured)
    for alignment_id, granularity, language, text in rows:
        adapter = adapters[granularity]
        side = min((0, 1), key=lambda each: len(sides[each]) / max(1, wanted[each]))
        if alignment_id in entities[1 - side] or len(sides[side]) >= wanted[side]:
            continue
        tokenizer.enable_truncation(adapter.max_tokens)
        ids = tuple(tokenizer.encode(text).ids)
        sides[side].append(Text(alignment_id, language, ids, adapter.row))
        entities[side].add(alignment_id)
    if min(map(len, sides)) < 2:
        raise TrainingError(
            f"{table} has {len(sides[0])} texts to calibrate on and {len(sides[1])} to measure on "
            f"in the bundle's languages; take a larger table"
        )
    return sides


def batches(
    texts: Sequence[Text], rows: int, pad_token_id: int
) -> Iterator[dict[str, np.ndarray[Any, np.dtype[np.int64]]]]:
    """The texts in their order as model inputs of `rows` each, padded to the longest."""
    for start in range(0, len(texts), rows):
        batch = texts[start : start + rows]
        shape = (len(batch), max(len(text.ids) for text in batch))
        input_ids = np.full(shape, pad_token_id, np.int64)
        attention_mask = np.zeros(shape, np.int64)
        for row, text in enumerate(batch):
            input_ids[row, : len(text.ids)] = text.ids
            attention_mask[row, : len(text.ids)] = 1
        adapter_ids = np.array([text.adapter_row for text in batch], np.int64)
        yield {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "adapter_ids": adapter_ids,
        }


def _sample(
    table: Path, languages: Sequence[str], share: int, rng: np.random.Generator
) -> list[tuple[str, Any, str, str]]:
    """`share` rows of each language and granularity, each as likely as any other, the cells in
    turn; memory is bounded by a few batches."""
    read_report(table)
    best: dict[tuple[str, str], list[tuple[float, str, str]]] = {}
    known = pa.array(sorted(languages)), pa.array(sorted(map(str, TEXT_GRANULARITIES)))
    with pq.ParquetFile(table) as parquet:
        for batch in parquet.iter_batches(_BATCH_ROWS, columns=_COLUMNS):
            mask = pc.and_(
                pc.is_in(batch["language"], known[0]), pc.is_in(batch["granularity"], known[1])
            )
            kept = batch.filter(mask)
            draws = rng.random(len(kept))
            cells = pc.binary_join_element_wise(kept["language"], kept["granularity"], "\t")
            encoded = cells.dictionary_encode()
            codes = np.asarray(encoded.indices)
            for code, cell in enumerate(encoded.dictionary.to_pylist()):
                language, granularity = cell.split("\t")
                places = np.flatnonzero(codes == code)
                places = places[np.argsort(draws[places])[:share]]
                pool = best.setdefault((language, granularity), [])
                chosen = kept.take(pa.array(places))
                ids, texts = chosen["alignment_id"].to_pylist(), chosen["text"].to_pylist()
                pool += zip(draws[places].tolist(), ids, texts, strict=True)
                pool.sort()
                del pool[share:]
    ordered = [best[cell] for cell in sorted(best)]
    by_name = {str(each): each for each in TEXT_GRANULARITIES}
    return [
        (pool[turn][1], by_name[cell[1]], cell[0], pool[turn][2])
        for turn in range(share)
        for cell, pool in zip(sorted(best), ordered, strict=True)
        if turn < len(pool)
    ]
