"""Monolingual texts to mine: lines of a file, or a corpus table's rows of one language."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from models.bundle import Granularity
from training.corpora.cleaning import Reason, normalise, row_fault
from training.corpora.overlap import fingerprint
from training.corpora.table import read_table
from training.corpora.tsv import open_text
from training.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Text:
    """A text, its licence where that is known, and the alignment ids that it had: no part of the
    mining, but of the judgement on it."""

    text: str
    licence: str | None = None
    ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Monolingual:
    """The clean texts of one language, each once, and how many were dropped for each reason."""

    language: str
    texts: tuple[Text, ...]
    read: int
    dropped: Mapping[str, int]


def read_lines(file: Path) -> Iterator[Text]:
    """The lines of a text file, plain or xz-compressed."""
    with open_text(file) as lines:
        yield from map(Text, lines)


def read_rows(
    table: Path, language: str, granularity: Granularity, excluded_sources: Iterable[str] = ()
) -> Iterator[Text]:
    """The texts of a corpus table in one language and granularity.

    Raises TrainingError where `table` is no corpus table.
    """
    for entity in read_table(table, (granularity,), (language,), excluded_sources):
        for row in entity.rows:
            yield Text(row.text, row.licence, frozenset({row.alignment_id}))


def clean(
    found: Iterable[Text],
    language: str,
    granularity: Granularity,
    banned: frozenset[bytes] = frozenset(),
    most: int | None = None,
) -> Monolingual:
    """Normalise texts and drop what a corpus build would drop of each by itself, what is in another
    language by the identifier included, and what repeats another in letters and digits.

    The rest is put in the order of a hash, so that no order of the input tells who translates whom,
    and cut to the first `most`. `banned` holds the fingerprints of test sets. Raises TrainingError
    where nothing is left.
    """
    read = 0
    dropped: Counter[str] = Counter()
    kept: dict[bytes, Text] = {}
    for each in found:
        read += 1
        text = normalise(each.text)
        fault = row_fault(granularity, language, text, banned)
        mark = fingerprint(text)
        if fault is not None or mark is None:
            dropped[str(fault or Reason.NO_LETTERS)] += 1
        elif (first := kept.get(mark)) is not None:
            dropped["repeated"] += 1
            kept[mark] = Text(first.text, first.licence, first.ids | each.ids)
        else:
            kept[mark] = Text(text, each.licence, each.ids)
    if not kept:
        raise TrainingError(
            f"no {granularity} in {language} is left of {read} texts to mine: "
            f"{', '.join(f'{count} {reason}' for reason, count in dropped.items()) or 'none read'}"
        )
    if most is not None and most < len(kept):
        dropped["over the limit"] = len(kept) - most
    chosen = heapq.nsmallest(len(kept) if most is None else most, kept.values(), key=_draw)
    return Monolingual(language, tuple(chosen), read, dict(dropped))


def _draw(text: Text) -> bytes:
    return blake2b(text.text.encode(), digest_size=8).digest()
