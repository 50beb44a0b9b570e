"""Files in, pairs out: the whole of a mining run, whatever embeds its texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from service.alignment.mining.lines import Texts, read_texts
from service.alignment.mining.neighbours import nearest
from service.alignment.mining.output import Found, check_format, write_pairs
from service.alignment.mining.pairing import pair_up
from service.alignment.mining.state import Report, Stage, claimed, side_folder, whole_file
from service.alignment.mining.summary import Histogram, page
from service.alignment.mining.vectors import Embed, Vectors, embed_texts
from service.alignment.scoring import Floats, Neighbours, Score

# Scores to the probability of being a translation; None where nobody knows.
Probabilities = Callable[[Floats], Floats | None]


@dataclass(frozen=True, slots=True)
class Job:
    """What to mine, where to put it, and how."""

    source: Path
    target: Path
    # Ends in .tsv, .jsonl or .parquet.
    out: Path
    # What a killed run goes on from; it may be deleted afterwards. Other scores and thresholds go
    # on from it without embedding anything again; another k without embedding.
    state: Path
    score: Score = Score.MARGIN_RATIO
    k: int = 4
    # Pairs with a lower score are left out.
    threshold: float | None = None
    # An HTML page with counts and a histogram, where one is wanted.
    summary: Path | None = None
    # Texts that are embedded and searched at a time: bounds memory and what a killed run repeats.
    block_texts: int = 8_192


@dataclass(frozen=True, slots=True)
class Mined:
    """What came of a run."""

    pairs: int
    below_threshold: int
    # By side, source first: lines, kept, and how many were left out for which reason.
    counts: tuple[Mapping[str, int], Mapping[str, int]]
    # Files that name the lines that are no text, by side.
    errors: tuple[Path, Path]
    histogram: Histogram

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "pairs": self.pairs,
            "below_threshold": self.below_threshold,
            "source": dict(self.counts[0]),
            "target": dict(self.counts[1]),
            "histogram": self.histogram.as_json(),
        }


def mine(
    job: Job,
    embed: Embed,
    model: Mapping[str, str],
    *,
    probabilities: Probabilities = lambda scores: None,
    report: Report = lambda stage, done, total: None,
) -> Mined:
    """Pair the lines of two files that are translations of each other.

    `embed` turns texts into unit rows; `model` names what it computes them with, all that decides
    what they are, and a state folder is only continued with the same. A run that was killed, or
    that `report` or `embed` stopped by raising, is continued by the same call, with the same
    result; what is done is not done again. Memory is that of some arrays with a few numbers for a
    line, and of two blocks of vectors.

    Raises InvalidInput where a file cannot be read, the output cannot be named so, or the state
    folder is another run's or in use.
    """
    check_format(job.out)
    files = (job.source, job.target)
    model = {**model, "block_texts": str(job.block_texts)}
    with claimed(job.state, model, files):
        sides = [
            read_texts(path, side_folder(job.state, place), partial(report, stage))
            for place, (path, stage) in enumerate(
                zip(files, (Stage.READ_SOURCE, Stage.READ_TARGET), strict=True)
            )
        ]
        vectors = [
            embed_texts(
                texts, embed, texts.folder / "vectors", job.block_texts, partial(report, stage)
            )
            for texts, stage in zip(sides, (Stage.EMBED_SOURCE, Stage.EMBED_TARGET), strict=True)
        ]
        neighbours = _neighbours(job, vectors, report) if all(map(len, sides)) else None
        report(Stage.PAIR, 0, 1)
        mined = _write(job, sides, neighbours, probabilities)
        report(Stage.PAIR, 1, 1)
        return mined


def _neighbours(job: Job, vectors: list[Vectors], report: Report) -> tuple[Neighbours, Neighbours]:
    one, other = vectors
    folders = [side_folder(job.state, place) / f"neighbours-k{job.k}" for place in (0, 1)]
    return (
        nearest(one, other, job.k, folders[0], partial(report, Stage.SEARCH_TARGET)),
        nearest(other, one, job.k, folders[1], partial(report, Stage.SEARCH_SOURCE)),
    )


def _write(
    job: Job,
    sides: list[Texts],
    neighbours: tuple[Neighbours, Neighbours] | None,
    probabilities: Probabilities,
) -> Mined:
    pairs = pair_up(neighbours, job.score)
    kept = pairs if job.threshold is None else pairs.take(pairs.scores >= job.threshold)
    write_pairs(job.out, Found(kept, probabilities(kept.scores), sides[0], sides[1]))
    mined = Mined(
        len(kept),
        len(pairs) - len(kept),
        (sides[0].counts, sides[1].counts),
        (sides[0].errors, sides[1].errors),
        Histogram.of(pairs.scores, job.threshold),
    )
    if job.summary is not None:
        with whole_file(job.summary) as file:
            title = f"{job.source.name} and {job.target.name}"
            file.write(page(title, str(job.score), mined.as_json(), mined.histogram).encode())
    return mined
