"""Which texts are measured, and which are fitted on: labelled rows in two parts."""

from __future__ import annotations

import hashlib
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.router.sources import (
    PARAGRAPH,
    PHRASE,
    SENTENCE,
    SOURCES,
    Source,
    contradicted,
    versions_of,
)
from models.bundle import TEXT_GRANULARITIES, Granularity

# Rows of one class and language that are measured, per part: enough for a half-width of 1.5 %.
ROWS_PER_CLASS = 400
UNSPACED_JOIN = {"zh", "ja", "zh-Hant"}
JOINED = "joined"


@dataclass(frozen=True, slots=True)
class Row:
    """One text, the class that its source gives it, and whether its label can be trusted."""

    language: str
    label: Granularity
    source: str
    id: str
    text: str
    in_test: bool
    set_aside: bool


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def is_test(source: Source, group: str) -> bool:
    """Half of every training corpus by a hash of its groups, and the whole of every test corpus."""
    return source.file.startswith("eval/") or _hash(group) % 2 == 0


def load(data: Path, languages: Sequence[str]) -> list[Row]:
    """Every labelled row in `languages`; no text of the training part is in the test part too."""
    rows: list[Row] = []
    for source in SOURCES:
        for id, group, texts in versions_of(source, data):
            in_test, aside = is_test(source, group), contradicted(source, texts)
            rows += [
                Row(language, source.label, source.name, id, texts[language], in_test, aside)
                for language in languages
                if texts.get(language, "").strip()
            ]
    tuned_on = {(row.language, row.text) for row in rows if not row.in_test}
    return [row for row in rows if not row.in_test or (row.language, row.text) not in tuned_on]


def pick(rows: Iterable[Row], count: int) -> list[Row]:
    """Up to `count` rows of one class and language, in turn from each source, in hash order."""
    by_source: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_source[row.source].append(row)
    for queue in by_source.values():
        queue.sort(key=lambda row: _hash(row.id), reverse=True)
    picked: list[Row] = []
    while len(picked) < count and any(by_source.values()):
        for queue in by_source.values():
            if queue and len(picked) < count:
                picked.append(queue.pop())
    return picked


def join_sentences(rows: Iterable[Row], language: str, count: int) -> list[Row]:
    """Paragraphs of two to four Tatoeba sentences of one language and part, set as it sets them."""
    sentences = [row for row in rows if row.source.startswith("tatoeba") and not row.set_aside]
    sentences.sort(key=lambda row: _hash(row.id))
    chooser = random.Random(language)
    separator = "" if language in UNSPACED_JOIN else " "
    joined: list[Row] = []
    while len(joined) < count and len(sentences) >= 4:
        parts = chooser.sample(sentences, chooser.randint(2, 4))
        text = separator.join(part.text for part in parts)
        id = "+".join(part.id for part in parts)
        joined.append(Row(language, PARAGRAPH, JOINED, id, text, parts[0].in_test, False))
    return joined


def select(
    rows: Sequence[Row], in_test: bool, trusted_only: bool, count: int = ROWS_PER_CLASS
) -> list[Row]:
    """The measured rows of one part: as many of each class, in turn from each source."""
    cells: dict[tuple[str, Granularity], list[Row]] = defaultdict(list)
    for row in rows:
        if row.in_test == in_test and not (trusted_only and row.set_aside):
            cells[row.language, row.label].append(row)
    picked: list[Row] = []
    for language in dict.fromkeys(language for language, _ in cells):
        sentences = cells[language, SENTENCE]
        cells[language, PARAGRAPH] += join_sentences(sentences, language, count)
        for label in TEXT_GRANULARITIES:
            picked += pick(cells[language, label], count)
    return picked


_UNMARK = re.compile(r"""[\s.!?…;:。！？।॥|؟۔።։"'»«”“’)」』）]+$""")


def without_final_mark(rows: Iterable[Row]) -> list[Row]:
    """Phrases as they are, and sentences with their final mark taken off."""
    bare = []
    for row in rows:
        if row.label is SENTENCE and (text := _UNMARK.sub("", row.text)):
            bare.append(Row(row.language, SENTENCE, row.source, row.id, text, row.in_test, False))
        elif row.label is PHRASE:
            bare.append(row)
    return bare
