"""How right alignments are, on gold sets and on made documents.

    python -m benchmarks.alignment_quality --data DATA [--bundle FOLDER] [--part NAME]...

prints a table for each part (all by default), through the code that /align runs:

- `documents`: strict and lax precision, recall and F1 (Sennrich and Volk, 2010) on every set of
  DATA/eval/doc_alignment, over the pairs of which no side is empty. Strict: exactly a pair of the
  gold; lax: each side has a sentence in common with the same pair of the gold.
- `made`: the same on documents that are made of parallel sentences (DATA/eval/xquad_contexts, split
  into sentences by ICU, where both languages have as many), with sentences merged, left out and
  swapped, all known.
- `texts`: xsim error (a sentence's translation has not the best score among its 4 nearest) and F1
  of mining, by cosine and by the margin ratio, on DATA/eval/tatoeba.pairs.tsv.xz. Mining: half of
  the sentences have no translation in the pool, and the threshold of the best F1 on the even
  sentences is applied to the odd ones.
- `words`: alignment error rate of each method on DATA/eval/word_alignment, the gold's tokens being
  the words and its sentences joined with spaces.
"""

from __future__ import annotations

import csv
import json
import lzma
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

from models.bundle import DEFAULT_BUNDLE, Granularity
from service.alignment.document_texts import Document
from service.alignment.documents import Plan
from service.alignment.matching import Method, align_texts
from service.alignment.scoring import Floats, Score, nearest_neighbours, score_pairs
from service.alignment.segmentation import Span
from service.alignment.words import WordMethod, link_words, word_vectors
from service.encoding.encoder import Encoder, Unit
from service.encoding.granularity import word_adapter

_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
_ISO = {"deu": "de", "fra": "fr", "jpn": "ja", "cmn": "zh", "rus": "ru", "ara": "ar", "tha": "th"}

Bead = tuple[tuple[int, ...], tuple[int, ...]]


class Counts(NamedTuple):
    """Pairs of the gold and found ones, and how many of each are right."""

    gold: int
    found: int
    exact: int
    found_touching: int
    gold_touched: int

    def __add__(self, other: object) -> Counts:
        assert isinstance(other, Counts)
        return Counts(*(one + two for one, two in zip(self, other, strict=True)))

    def row(self) -> str:
        """Strict and lax precision, recall and F1, in percent, as cells of a table."""
        figures = []
        for right, touched in ((self.exact, self.exact), (self.found_touching, self.gold_touched)):
            precision, recall = right / max(self.found, 1), touched / max(self.gold, 1)
            f1 = 2 * precision * recall / max(precision + recall, 1e-9)
            figures += [precision, recall, f1]
        return " | ".join(f"{100 * figure:.1f}" for figure in figures)


def compare(gold: Iterable[Bead], found: Iterable[Bead]) -> Counts:
    """How alike two alignments are, pairs with an empty side left out."""
    wanted = {bead for bead in gold if all(bead)}
    got = {bead for bead in found if all(bead)}

    def touches(bead: Bead, others: dict[int, list[Bead]]) -> bool:
        near = (other for place in bead[0] for other in others.get(place, ()))
        return any(set(bead[1]) & set(other[1]) for other in near)

    by_source: list[dict[int, list[Bead]]] = [{}, {}]
    for beads, index in zip((wanted, got), by_source, strict=True):
        for bead in beads:
            for place in bead[0]:
                index.setdefault(place, []).append(bead)
    return Counts(
        len(wanted),
        len(got),
        len(wanted & got),
        sum(touches(bead, by_source[0]) for bead in got),
        sum(touches(bead, by_source[1]) for bead in wanted),
    )


def align_documents(encoder: Encoder, source: Document, target: Document) -> list[Bead]:
    """The pairs that /align finds at level document, by its defaults."""

    def vectors(texts: Sequence[str], granularity: Granularity) -> Floats:
        units = [Unit(text, "text", granularity) for text in texts]
        return encoder.encode(units).vectors if units else np.zeros((0, 1), np.float32)

    sides = [vectors(side.sentences, Granularity.SENTENCE) for side in (source, target)]
    plan = Plan(*sides)
    blocks = (
        vectors([source.block(block) for block in plan.source_blocks], Granularity.PARAGRAPH),
        vectors([target.block(block) for block in plan.target_blocks], Granularity.PARAGRAPH),
    )
    return [
        (tuple(range(m.source.start, m.source.end)), tuple(range(m.target.start, m.target.end)))
        for m in plan.matches(*blocks)
    ]


def gold_documents(folder: Path) -> Iterator[tuple[str, Document, Document, list[Bead]]]:
    """The documents of a set with their gold: of languages A_B, DOC.A.txt.xz and so on."""
    languages = folder.name.rpartition("_")[2].split("-")
    for path in sorted(folder.glob("*.gold.jsonl.xz")):
        name = path.name.partition(".")[0]
        sides = []
        for language in languages:
            with lzma.open(folder / f"{name}.{language}.txt.xz", "rt", encoding="utf-8") as file:
                # A blank line is no text; a mark in its place keeps the numbers.
                sides.append(Document(tuple(line.strip() or "-" for line in file)))
        with lzma.open(path, "rt", encoding="utf-8") as file:
            beads = [json.loads(line) for line in file]
        yield name, sides[0], sides[1], [(tuple(a), tuple(b)) for a, b in beads]


_DOCUMENT_HEAD = (
    "| set | documents | strict P | R | F1 | lax P | R | F1 |\n|---|---|---|---|---|---|---|---|"
)


def documents(encoder: Encoder, data: Path) -> None:
    """The gold sets."""
    click.echo(_DOCUMENT_HEAD)
    for folder in sorted((data / "eval" / "doc_alignment").iterdir()):
        total, number = Counts(0, 0, 0, 0, 0), 0
        for _, source, target, gold in gold_documents(folder):
            total += compare(gold, align_documents(encoder, source, target))
            number += 1
        click.echo(f"| {folder.name} | {number} | {total.row()} |")


def made(encoder: Encoder, data: Path) -> None:
    """Documents made of parallel sentences."""
    texts: dict[str, dict[str, str]] = {}
    path = data / "eval" / "xquad_contexts.paragraph.wide.tsv.xz"
    with lzma.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            texts.setdefault(row["lang"], {})[row["id"]] = row["text"]
    click.echo(_DOCUMENT_HEAD)
    for language in ("de", "ru", "zh", "ar", "th"):
        sides: tuple[list[str], list[str]] = ([], [])
        for identity, english in texts["en"].items():
            one = Document.of(english, "en", "en").sentences
            other = Document.of(texts[language][identity], language, language).sentences
            if len(one) == len(other):
                sides[0].extend(one)
                sides[1].extend(other)
        source, target, gold = disturb(*sides, np.random.default_rng(0))
        counts = compare(gold, align_documents(encoder, source, target))
        click.echo(f"| en-{language}, {len(sides[0])} sentences | 1 | {counts.row()} |")


def disturb(
    sources: Sequence[str], targets: Sequence[str], rng: np.random.Generator
) -> tuple[Document, Document, list[Bead]]:
    """Parallel sentences with some merged (15 %), left out (5 %) and swapped (2 %), and the truth.

    Of swapped neighbours, which no alignment in order can both have, the gold has neither.
    """
    sides: tuple[list[str], list[str]] = ([], [])
    gold: list[Bead] = []
    place = 0
    while place < len(sources):
        draw = rng.random()
        several = place + 1 < len(sources)
        at = len(sides[0]), len(sides[1])
        pair = slice(place, place + 2)
        if draw < 0.15 and several:
            side = int(rng.integers(2))
            for number, texts in enumerate((sources, targets)):
                both = texts[pair]
                sides[number].extend([" ".join(both)] if number == side else both)
            both_places = tuple((at[n],) if n == side else (at[n], at[n] + 1) for n in (0, 1))
            gold.append((both_places[0], both_places[1]))
            place += 2
        elif draw < 0.17 and several:
            sides[0].extend(sources[pair])
            sides[1].extend(reversed(targets[pair]))
            place += 2
        elif draw < 0.22:
            side = int(rng.integers(2))
            sides[side].append((sources, targets)[side][place])
            place += 1
        else:
            sides[0].append(sources[place])
            sides[1].append(targets[place])
            gold.append(((at[0],), (at[1],)))
            place += 1
    return Document(tuple(sides[0])), Document(tuple(sides[1])), gold


def texts(encoder: Encoder, data: Path) -> None:
    """Single sentences: xsim and mining."""
    pairs: dict[str, list[tuple[str, str]]] = {}
    path = data / "eval" / "tatoeba.pairs.tsv.xz"
    with lzma.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            sides = {row["lang_a"]: row["text_a"], row["lang_b"]: row["text_b"]}
            english = sides.pop("en")
            (language,) = sides
            if language in _ISO:
                pairs.setdefault(_ISO[language], []).append((sides[language], english))
    click.echo(
        "| language | pairs | xsim error, cosine | margin ratio | mining F1, cosine "
        "| margin ratio |\n|---|---|---|---|---|---|"
    )
    means: list[list[float]] = []
    for language, rows in sorted(pairs.items()):
        units = [
            Unit(text, "text", Granularity.SENTENCE)
            for side in zip(*rows, strict=True)
            for text in side
        ]
        vectors = encoder.encode(units).vectors
        one, other = vectors[: len(rows)], vectors[len(rows) :]
        figures = [xsim(one, other, score) for score in (Score.COSINE, Score.MARGIN_RATIO)]
        figures += [mining(one, other, score) for score in (Score.COSINE, Score.MARGIN_RATIO)]
        means.append(figures)
        click.echo(
            f"| {language} | {len(rows)} | " + " | ".join(f"{x:.2f}" for x in figures) + " |"
        )
    mean = np.mean(means, axis=0)
    click.echo("| mean | | " + " | ".join(f"{x:.2f}" for x in mean) + " |")


def xsim(sources: Floats, targets: Floats, score: Score) -> float:
    """Share of sources, in percent, whose best neighbour of 4 is not the target of their index."""
    forward, backward = nearest_neighbours(sources, targets, 4)
    other = backward.mean_cosine[forward.indices]
    scores = score_pairs(score, forward.cosines, forward.mean_cosine[:, None], other)
    best = forward.indices[np.arange(len(scores)), scores.argmax(axis=1)]
    return 100 * float((best != np.arange(len(best))).mean())


def mining(sources: Floats, targets: Floats, score: Score) -> float:
    """F1 in percent on the odd sentences, by the threshold of the even ones."""
    halves = [_mined(sources[start::2], targets[start::2], score) for start in (0, 1)]
    (scores, right, wanted), (test_scores, test_right, test_wanted) = halves
    hits = np.cumsum(right)
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + wanted)
    threshold = scores[int(f1.argmax())]
    kept = test_scores >= threshold
    return 100 * float(2 * test_right[kept].sum() / (kept.sum() + test_wanted))


def _mined(sources: Floats, targets: Floats, score: Score) -> tuple[Floats, Floats, int]:
    """Scores of mined pairs, best first, which are right, and how many there are to find."""
    kept = np.arange(0, len(targets), 2)  # the others' translations are not in the pool
    pairs = align_texts(sources, targets[kept], Method.ONE_TO_ONE, score=score).pairs
    right = [float(pair.source == kept[pair.target]) for pair in pairs]
    return np.array([p.score for p in pairs], np.float32), np.array(right, np.float32), len(kept)


def words(encoder: Encoder, data: Path) -> None:
    """Gold links between words."""
    adapter = word_adapter(encoder.manifest).name
    click.echo("| set | sentences | AER, argmax | itermax | optimal |\n|---|---|---|---|---|")
    for path in sorted((data / "eval" / "word_alignment").glob("*.jsonl.xz")):
        with lzma.open(path, "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        # Long sets are cut: enough for a figure, and all languages get their turn.
        rows = rows[:500]
        errors = {method: np.zeros(3) for method in WordMethod}
        sides = []
        for key in ("tokens_a", "tokens_b"):
            units = [Unit(" ".join(row[key]), path.name, adapter=adapter) for row in rows]
            states = encoder.encode_states(units)
            sides.append(
                [
                    word_vectors(one.states, one.offsets, _spans(row[key]))
                    for one, row in zip(states, rows, strict=True)
                ]
            )
        for row, one, other in zip(rows, *sides, strict=True):
            sure = set(map(tuple, row["sure"]))
            possible = sure | set(map(tuple, row["possible"]))
            for method, total in errors.items():
                found = {(link.source, link.target) for link in link_words(one, other, method)}
                hits = len(found & sure), len(found & possible)
                total += (*hits, len(found) + len(sure))
        figures = [100 * (1 - (total[0] + total[1]) / total[2]) for total in errors.values()]
        name = path.name.partition(".")[0]
        click.echo(f"| {name} | {len(rows)} | " + " | ".join(f"{x:.1f}" for x in figures) + " |")


def _spans(tokens: Sequence[str]) -> list[Span]:
    """Where tokens stand once they are joined with spaces."""
    spans = []
    start = 0
    for token in tokens:
        spans.append(Span(start, start + len(token)))
        start += len(token) + 1
    return spans


PARTS = {"documents": documents, "made": made, "texts": texts, "words": words}


@click.command(context_settings={"show_default": True})
@click.option("--data", type=_FOLDER, required=True, help="folder of the corpora")
@click.option("--bundle", type=_FOLDER, default=DEFAULT_BUNDLE)
@click.option("--part", "parts", type=click.Choice(list(PARTS)), multiple=True, default=list(PARTS))
@click.option("--threads", type=int, default=None)
def main(data: Path, bundle: Path, parts: Sequence[str], threads: int | None) -> None:
    """Measure how right alignments are."""
    encoder = Encoder.open(bundle, threads=threads)
    click.echo(f"{encoder.manifest.name} {encoder.manifest.version}")
    for part in parts:
        click.echo(f"\n{part}\n")
        PARTS[part](encoder, data)


if __name__ == "__main__":
    main()
