"""Write a bundle anew with a calibration fitted on texts that its adapters did not learn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.bundle import (
    MANIFEST_NAME,
    TEXT_GRANULARITIES,
    Bundle,
    Granularity,
    sha256_of,
    write,
)
from models.calibration import (
    AdapterCalibration,
    CalibrationTable,
    Curve,
    Shift,
    pair_key,
    read_calibration,
)
from training.calibration.candidates import PRIOR, SCORES, Drawn, candidates
from training.calibration.fitting import FAMILIES
from training.calibration.measuring import Choice, Fitted, Predictions, choose, fit, left_out
from training.calibration.unseen import Unseen, UnseenPairs
from training.corpora.tsv import ANCHOR, Pair
from training.data import Corpus
from training.errors import TrainingError
from training.evaluation.embedder import Embedder
from training.evaluation.similarity import NEIGHBOURS, Vectors

# Pairs of a language beyond which more tell little: the lists that they make are the pool.
PAIRS = {Granularity.PHRASE: 500, Granularity.SENTENCE: 500, Granularity.PARAGRAPH: 150}
# Fewer make no list to stand out from.
LEAST_PAIRS = 30
_DIGITS = 5


@dataclass(frozen=True, slots=True)
class Measured:
    """One score of one adapter: what was chosen, and how right it is."""

    granularity: Granularity
    score: str
    choice: Choice
    fitted: Fitted
    unseen_pair: Predictions
    pool: int  # texts of the longest list

    @property
    def line(self) -> str:
        """For a person to read."""
        held, other = self.choice.predictions, self.unseen_pair
        mean, least, unseen = (
            "-" if each is None else f"{each:.4f}"
            for each in (held.mean_error, held.least_error(), other.mean_error)
        )
        losses = ", ".join(f"{name} {loss:.4f}" for name, loss in self.choice.losses.items())
        return (
            f"{self.granularity} {self.score}: calibration error {held.error:.4f}; of a language "
            f"pair {mean} (were all exact: {least}); of one not fitted {unseen}; "
            f"{self.choice.family} (log loss: {losses})"
        )


def calibrate(
    parent_path: Path,
    corpus: Corpus,
    out: Path,
    version: str,
    threads: int | None,
    say: Callable[[str], None],
) -> list[Measured]:
    """Write to `out` the bundle at `parent_path` with a calibration; `say` gets a line for each
    score of each adapter that a granularity routes to.

    Raises TrainingError where the corpus is not the one that the bundle was trained on or leaves
    too few texts, FileExistsError where `out` exists.
    """
    if out.exists():
        raise FileExistsError(f"{out} exists; a bundle is never changed: choose another folder")
    embedder = Embedder.open(parent_path, threads, plain=False)
    manifest = embedder.bundle.manifest
    unseen = Unseen(manifest, corpus)
    measured: list[Measured] = []
    tables: dict[Granularity, AdapterCalibration] = {}
    origins: dict[str, dict[str, int]] = {}
    for granularity in TEXT_GRANULARITIES:
        adapter = manifest.routing[granularity]
        found = unseen.pairs(adapter, PAIRS[granularity])
        pairs = {name: own for name, own in found.pairs.items() if len(own) >= LEAST_PAIRS}
        if not pairs:
            raise TrainingError(
                f"no language has {LEAST_PAIRS} {granularity} pairs that nothing was learned from; "
                "hold out more with [validation], or take a larger corpus"
            )
        own = _measure(granularity, _drawn(embedder, adapter, pairs), pairs)
        for each in own:
            say(each.line)
        measured += own
        tables[granularity] = _table(adapter, own, pairs)
        origins[granularity] = _origin(found, pairs)
    table = CalibrationTable(
        version=1,
        prior=PRIOR,
        pool=max(each.pool for each in measured),
        neighbours=NEIGHBOURS,
        granularities=tables,
    )
    _write(embedder.bundle, out, version, table, origins)
    return measured


def _drawn(
    embedder: Embedder, adapter: str, pairs: Mapping[str, list[Pair]]
) -> dict[str, dict[str, Drawn]]:
    """By language and score, its candidates."""
    texts = dict.fromkeys(
        text for own in pairs.values() for pair in own for text in (pair.english, pair.other)
    )
    place = {text: index for index, text in enumerate(texts)}
    vectors: Vectors = embedder.embed(list(texts), adapter)
    return {
        language: candidates(
            vectors[[place[pair.english] for pair in own]],
            vectors[[place[pair.other] for pair in own]],
        )
        for language, own in pairs.items()
    }


def _measure(
    granularity: Granularity,
    drawn: Mapping[str, Mapping[str, Drawn]],
    pairs: Mapping[str, list[Pair]],
) -> list[Measured]:
    found = []
    pool = max(len(own) - len(own) // 3 for own in pairs.values())
    for score in SCORES:
        own = {language: each[score] for language, each in drawn.items()}
        choice = choose(own)
        family = FAMILIES[choice.family]
        fitted = fit(own, family, choice.spread)
        found.append(Measured(granularity, score, choice, fitted, left_out(own, family), pool))
    return found


def _table(
    adapter: str, measured: list[Measured], pairs: Mapping[str, list[Pair]]
) -> AdapterCalibration:
    return AdapterCalibration(
        adapter=adapter,
        curves={each.score: _curve(each) for each in measured},
        texts={language: len(own) for language, own in pairs.items()},
    )


def _curve(measured: Measured) -> Curve:
    points = measured.fitted.points
    scores = np.round(points.scores, _DIGITS + 1)
    scores, first = np.unique(scores, return_index=True)  # rounding may make two one
    held, unseen = measured.choice.predictions, measured.unseen_pair
    return Curve(
        scores=tuple(scores.tolist()),
        log_odds=tuple(np.round(points.log_odds[first], _DIGITS).tolist()),
        pairs={
            pair_key((ANCHOR, language)): Shift(
                offset=round(each.offset, _DIGITS), slope=round(each.slope, _DIGITS)
            )
            for language, each in sorted(measured.fitted.departures.items())
        },
        error=round(held.error, _DIGITS),
        error_of_pair=_rounded(held.mean_error),
        error_of_unseen_pair=_rounded(unseen.mean_error),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)


def _origin(found: UnseenPairs, pairs: Mapping[str, list[Pair]]) -> dict[str, int]:
    return {
        "pairs": sum(map(len, pairs.values())),
        "corpus_pairs": found.corpus_pairs,
        "corpus_pairs_when_trained": found.trained_pairs,
    }


def _write(
    parent: Bundle,
    out: Path,
    version: str,
    table: CalibrationTable,
    origins: Mapping[str, Mapping[str, int]],
) -> None:
    manifest = parent.manifest
    files: dict[str, Path | bytes] = {name: parent.file(name) for name in manifest.files}
    card = parent.file(manifest.model_card).read_text(encoding="utf-8")
    files[manifest.model_card] = _card(card, parent, version, table).encode()
    provenance = {
        **manifest.provenance,
        "calibration": {
            "added_to": {
                "version": manifest.version,
                "manifest_sha256": sha256_of(parent.path / MANIFEST_NAME),
            },
            "texts": dict(origins),
        },
    }
    values: dict[str, Any] = manifest.model_dump(mode="json", exclude={"format_version", "files"})
    values |= {
        "version": version,
        "provenance": provenance,
        "calibration": table.model_dump(mode="json"),
    }
    read_calibration(manifest.model_copy(update={"calibration": values["calibration"]}))
    write(out, values, files)


_HEADING = "## Calibration"


def _card(card: str, parent: Bundle, version: str, table: CalibrationTable) -> str:
    """The model card with the new version in its title, and what was calibrated at its end."""
    name = parent.manifest.name
    title, _, rest = card.partition("\n")
    if title == f"# {name} {parent.manifest.version}":
        title = f"# {name} {version}"
    kept = rest.split(f"\n{_HEADING}\n")[0].rstrip("\n")
    worst = max(
        curve.error for own in table.granularities.values() for curve in own.curves.values()
    )
    return (
        f"{title}\n{kept}\n\n{_HEADING}\n\n"
        "Scores become probabilities by curves that were fitted on translations held out of the adapters' training, by language pair and granularity; "
        f"expected calibration error on texts that were not fitted: at most {worst:.3f} over all "
        "languages. docs/calibration.md tells under which conditions that holds.\n"
    )
