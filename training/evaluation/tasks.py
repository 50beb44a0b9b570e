"""Cross-lingual retrieval tasks, one per granularity, over public test sets.

Each reads `eval/` in the layout of the corpora (see `training.corpora.tsv`) and answers scores in
percent, by language.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.bundle import Granularity
from training.corpora.tsv import open_text, read_pairs, table_rows
from training.errors import TrainingError
from training.evaluation.embedder import Vectors

Embed = Callable[[list[str]], Vectors]
Scores = Mapping[str, float]  # language → percent

# LASER's Tatoeba names languages by ISO 639-3.
TATOEBA_LANGUAGES = {
    "ar": "ara", "bg": "bul", "cs": "ces", "de": "deu", "el": "ell", "es": "spa", "et": "est",
    "fa": "pes", "fi": "fin", "fr": "fra", "he": "heb", "hi": "hin", "hu": "hun", "id": "ind",
    "it": "ita", "ja": "jpn", "ko": "kor", "nl": "nld", "pl": "pol", "pt": "por", "ro": "ron",
    "ru": "rus", "sv": "swe", "sw": "swh", "th": "tha", "tr": "tur", "uk": "ukr", "vi": "vie",
    "zh": "cmn",
}  # fmt: skip
ENTITY_LANGUAGES = ("fr", "ja", "zh")
_LINK_COLUMNS = ("split", "id1", "id2", "uri1", "uri2", "name1", "name2")

_BLOCK_ROWS = 1024


@dataclass(frozen=True, slots=True)
class Task:
    """A task, the granularity whose adapter ought to win it, and its main figure."""

    name: str
    granularity: Granularity
    figure: str
    score: Callable[[Path, Embed], Scores]


def tatoeba(folder: Path, embed: Embed) -> Scores:
    """Top-1 accuracy by cosine on LASER's Tatoeba test, the mean of both directions."""
    pairs = list(read_pairs(_test_set(folder, "tatoeba.pairs.tsv.xz"), Granularity.SENTENCE))
    scores = {}
    for language, code in TATOEBA_LANGUAGES.items():
        chosen = [pair for pair in pairs if pair.language == code]
        if not chosen:
            raise TrainingError(f"{folder}: the Tatoeba test has no rows of {language} ({code})")
        english = embed([pair.english for pair in chosen])
        other = embed([pair.other for pair in chosen])
        gold = np.arange(len(chosen))
        hits = (ranks(english, other, gold) == 1).mean() + (ranks(other, english, gold) == 1).mean()
        scores[language] = 50 * float(hits)
    return scores


def aligned_paragraphs(folder: Path, embed: Embed) -> Scores:
    """Top-1 accuracy of finding an XQuAD paragraph's English original among all of them."""
    file = _test_set(folder, "xquad_contexts.paragraph.wide.tsv.xz")
    pairs = list(read_pairs(file, Granularity.PARAGRAPH))
    english = {pair.id: pair.english for pair in pairs}
    place = {id_: index for index, id_ in enumerate(english)}
    targets = embed(list(english.values()))
    scores = {}
    for language in sorted({pair.language for pair in pairs}):
        chosen = [pair for pair in pairs if pair.language == language]
        queries = embed([pair.other for pair in chosen])
        gold = np.array([place[pair.id] for pair in chosen])
        scores[language] = 100 * float((ranks(queries, targets, gold) == 1).mean())
    return scores


def entity_names(folder: Path, embed: Embed) -> Scores:
    """Hit@1 of DBP15K entity names against the English ones, on the test split, names only."""
    scores = {}
    for language in ENTITY_LANGUAGES:
        links = list(_entity_links(_test_set(folder, f"dbp15k_{language}_en.links.tsv.xz")))
        queries = embed([name for name, _ in links])
        targets = embed([name for _, name in links])
        scores[language] = 100 * float((ranks(queries, targets, np.arange(len(links))) == 1).mean())
    return scores


def _test_set(folder: Path, name: str) -> Path:
    file = folder / name
    if not file.is_file():
        raise TrainingError(f"{folder} has no {name}; the evaluation needs it")
    return file


def _entity_links(file: Path) -> Iterator[tuple[str, str]]:
    with open_text(file) as lines:
        for split, *_, name1, name2 in table_rows(file, lines, _LINK_COLUMNS):
            if split == "test":
                yield name1, name2


def ranks(queries: Vectors, targets: Vectors, gold: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rank, from 1, of each query's gold target by cosine: (n, dim), (m, dim), (n,) → (n,).

    A target that ties with the gold one counts as ranked before it, so that no score is won by
    order; an identical text elsewhere in the pool is such a tie.
    """
    result = np.empty(len(queries), dtype=np.int64)
    for start in range(0, len(queries), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        cosines = queries[block] @ targets.T
        own = cosines[np.arange(len(cosines)), gold[block]]
        result[block] = (cosines >= own[:, None]).sum(axis=1)
    return result


TASKS = (
    Task("DBP15K names", Granularity.PHRASE, "Hit@1", entity_names),
    Task("Tatoeba", Granularity.SENTENCE, "accuracy", tatoeba),
    Task("XQuAD paragraphs", Granularity.PARAGRAPH, "top-1 accuracy", aligned_paragraphs),
)
