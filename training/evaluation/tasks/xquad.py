"""Retrieval across languages on XQuAD, whose paragraphs and questions stand in 12 languages.

240 paragraphs of English Wikipedia with 1,190 questions and their answers, translated by people
(Artetxe, Ruder and Yogatama, 2020); from `xquad_contexts.paragraph.wide.tsv.xz` and
`xquad_qa.tsv.xz`. The pool is always the 240 paragraphs of one language.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.bundle import Granularity
from training.corpora.tsv import WIDE_COLUMNS, open_text, table_rows
from training.errors import TrainingError
from training.evaluation.languages import ANCHOR, Languages
from training.evaluation.measures import hits_at, mean_reciprocal_rank, ndcg_at
from training.evaluation.similarity import Indices, ranks
from training.evaluation.task import Figure, Figures, Reader, Scored, Task, test_set_file
from training.evaluation.tasks.names import is_name_of_one
from training.evaluation.tasks.tatoeba import ParallelTexts, Translations, mexa

PARAGRAPHS_FILE = "xquad_contexts.paragraph.wide.tsv.xz"
ANSWERS_FILE = "xquad_qa.tsv.xz"
ANSWERS_COLUMNS = ("id", "lang", "paragraph_id", "question", "answer", "answer_start")

Paragraphs = dict[str, dict[str, str]]  # language → paragraph id → text


@dataclass(frozen=True, slots=True)
class Question:
    """A question and its answer, in one language."""

    id: str
    language: str
    paragraph_id: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class CrossLingualSearch:
    """Queries of each language, to be searched among the paragraphs of every other language."""

    granularity: Granularity  # of the queries
    queries: Mapping[str, list[tuple[str, str]]]  # language → (query, id of its paragraph)
    paragraphs: Paragraphs
    measure: Callable[[Indices], Figures]

    @property
    def languages(self) -> Sequence[str]:
        # One language alone has no other to search in.
        return list(self.queries) if len(self.queries) > 1 else []

    @property
    def texts(self) -> Mapping[Granularity, Sequence[str]]:
        return {
            self.granularity: [text for pairs in self.queries.values() for text, _ in pairs],
            Granularity.PARAGRAPH: [t for each in self.paragraphs.values() for t in each.values()],
        }

    def score(self, reader: Reader) -> Scored:
        by_pair: dict[str, Figures] = {}
        by_language: dict[str, Figures] = {}
        for language, pairs in self.queries.items():
            queries = reader.vectors(self.granularity, [text for text, _ in pairs])
            found = []
            for other, pool in self.paragraphs.items():
                if other != language:
                    place = {id_: index for index, id_ in enumerate(pool)}
                    targets = reader.vectors(Granularity.PARAGRAPH, list(pool.values()))
                    gold = np.array([place[id_] for _, id_ in pairs], dtype=np.int64)
                    figures = self.measure(ranks(queries, targets, gold))
                    by_pair[f"{language}→{other}"] = figures
                    found.append(figures)
            by_language[language] = {
                name: float(np.mean([figures[name] for figures in found])) for name in found[0]
            }
        return Scored(by_language, by_pair)


def read_paragraphs(folder: Path, languages: Languages) -> Paragraphs:
    """The paragraphs of the languages chosen; TrainingError where a language lacks some."""
    file = test_set_file(folder, PARAGRAPHS_FILE)
    found: Paragraphs = {}
    with open_text(file) as lines:
        for id_, language, text in table_rows(file, lines, WIDE_COLUMNS):
            if language in languages:
                found.setdefault(language, {})[id_] = text
    for language, paragraphs in found.items():
        if missing := found.get(ANCHOR, {}).keys() ^ paragraphs.keys():
            raise TrainingError(
                f"{file}: {len(missing)} paragraphs are not in both {language} and {ANCHOR}; "
                "every language must have the same ones"
            )
    return dict(sorted(found.items()))


def read_questions(folder: Path, languages: Languages) -> list[Question]:
    """The questions and answers of the languages chosen, in the order of the file."""
    file = test_set_file(folder, ANSWERS_FILE)
    with open_text(file) as lines:
        return [
            Question(*row[:5])
            for row in table_rows(file, lines, ANSWERS_COLUMNS)
            if row[1] in languages
        ]


def load_questions(folder: Path, languages: Languages) -> CrossLingualSearch:
    """Every question of a language, against the paragraphs of every other."""
    queries: dict[str, list[tuple[str, str]]] = {}
    for each in read_questions(folder, languages):
        queries.setdefault(each.language, []).append((each.question, each.paragraph_id))
    return _search(folder, languages, Granularity.SENTENCE, queries, _question_figures)


def _question_figures(found: Indices) -> Figures:
    return {"ndcg_at_10": ndcg_at(found, 10), "map": mean_reciprocal_rank(found)}


def load_phrases(folder: Path, languages: Languages) -> CrossLingualSearch:
    """Answers that are short names, in each language, against the paragraphs of every other."""
    pool = list(read_paragraphs(folder, Languages.parse([ANCHOR])).get(ANCHOR, {}).values())
    questions = read_questions(folder, languages)
    names = {
        each.id
        for each in questions
        if each.language == ANCHOR and is_name_of_one(each.answer, pool)
    }
    queries: dict[str, dict[tuple[str, str], None]] = {}
    for each in questions:
        if each.id in names:
            # Several questions of a paragraph may have one answer: it is asked for once.
            queries.setdefault(each.language, {})[each.answer, each.paragraph_id] = None
    chosen = {language: list(pairs) for language, pairs in queries.items()}
    return _search(folder, languages, Granularity.PHRASE, chosen, _phrase_figures)


def _phrase_figures(found: Indices) -> Figures:
    return {
        "recall_at_10": hits_at(found, 10),
        "recall_at_1": hits_at(found, 1),
        "mrr": mean_reciprocal_rank(found),
    }


def _search(
    folder: Path,
    languages: Languages,
    granularity: Granularity,
    queries: Mapping[str, list[tuple[str, str]]],
    measure: Callable[[Indices], Figures],
) -> CrossLingualSearch:
    paragraphs = read_paragraphs(folder, languages)
    for language, pairs in queries.items():
        if unknown := {id_ for _, id_ in pairs} - paragraphs.get(language, {}).keys():
            raise TrainingError(
                f"{folder}: {ANSWERS_FILE} names the {language} paragraph {min(unknown)}, which "
                f"{PARAGRAPHS_FILE} lacks; take both files from one version of XQuAD"
            )
    return CrossLingualSearch(granularity, dict(sorted(queries.items())), paragraphs, measure)


def _translations(folder: Path, languages: Languages) -> dict[str, Translations]:
    paragraphs = read_paragraphs(folder, languages)
    english = paragraphs.pop(ANCHOR, {})
    return {
        language: Translations(list(english.values()), [each[id_] for id_ in english])
        for language, each in paragraphs.items()
    }


def load_aligned(folder: Path, languages: Languages) -> ParallelTexts:
    """The paragraphs of each language with their English originals."""
    return ParallelTexts(Granularity.PARAGRAPH, _translations(folder, languages), _aligned)


def _aligned(english: np.ndarray, other: np.ndarray) -> Figures:
    return {"accuracy": hits_at(ranks(other, english, np.arange(len(other))), 1)}


def load_mexa(folder: Path, languages: Languages) -> ParallelTexts:
    """The same pairs of paragraphs, measured by MEXA."""
    return ParallelTexts(Granularity.PARAGRAPH, _translations(folder, languages), mexa)


QUESTIONS = Task(
    "xquad-questions",
    "XQuAD question→paragraph",
    "XQuAD",
    "Find the paragraph that answers a question among the 240 of another language, by cosine: "
    "nDCG@10 and mean average precision over all ordered pairs of 12 languages (XQuAD; Artetxe et "
    "al., 2020). One paragraph is relevant. A language's figure is the mean over the languages "
    "that its questions are searched in.",
    (Granularity.SENTENCE, Granularity.PARAGRAPH),
    (Figure("ndcg_at_10", "nDCG@10"), Figure("map", "mAP")),
    load_questions,
)
PHRASES = Task(
    "phrase-to-paragraph",
    "phrase→paragraph",
    "XQuAD",
    "Find, by a name, the paragraph of another language that holds it, among 240: recall@10 over "
    "all ordered pairs of 12 languages. The names are XQuAD answers whose English is at most five "
    "words with a capital and no digit and stands in exactly one English paragraph.",
    (Granularity.PHRASE, Granularity.PARAGRAPH),
    (
        Figure("recall_at_10", "recall@10"),
        Figure("recall_at_1", "recall@1"),
        Figure("mrr", "MRR"),
    ),
    load_phrases,
)
ALIGNED = Task(
    "xquad-paragraphs",
    "XQuAD paragraphs",
    "XQuAD",
    "Find a paragraph's English original among the 240 of XQuAD, by cosine: top-1 accuracy.",
    (Granularity.PARAGRAPH,),
    (Figure("accuracy", "top-1 accuracy"),),
    load_aligned,
)
MEXA = Task(
    "mexa-paragraphs",
    "MEXA paragraphs",
    "XQuAD",
    "Share of XQuAD paragraphs and their English originals whose cosine is strictly above every "
    "other of its row and its column (MEXA; Kargaran et al., 2024), on the embeddings.",
    (Granularity.PARAGRAPH,),
    (Figure("mexa", "share"),),
    load_mexa,
)
