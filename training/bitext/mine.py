"""`polygrain-train mine`: two monolingual sides → a file of pairs that `corpus build` takes."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from models.bundle import Granularity
from training.bitext.neighbours import nearest
from training.bitext.pairing import Paired, Side, pair
from training.bitext.texts import Monolingual
from training.corpora.cleaning import RATIOS
from training.errors import TrainingError
from training.evaluation.measures import Retrieved, best_threshold
from training.evaluation.similarity import NEIGHBOURS, Vectors
from training.files import replace

# Texts embedded at a time: bounds what the tokenizer holds.
_EMBED_TEXTS = 16_384
COLUMNS = ("alignment_id", "licence", "granularity", "language", "text", "margin")

_log = logging.getLogger(__name__)


class Embeds(Protocol):
    """What turns texts into unit rows through one of its adapters: (n, dim)."""

    def embed(self, texts: Sequence[str], adapter: str | None) -> Vectors: ...


@dataclass(frozen=True, slots=True)
class MiningOptions:
    """How strict mining is."""

    granularity: Granularity = Granularity.SENTENCE
    neighbours: int = NEIGHBOURS
    # CCMatrix's (Schwenk et al., 2021), found on another encoder: look at the pairs.
    least_margin: float = 1.06
    # None: what the corpus build allows the granularity, which may be any.
    most_ratio: float | None = None

    @property
    def ratio(self) -> float:
        """How many times longer the longer text of a pair may be."""
        if self.most_ratio is not None:
            return self.most_ratio
        return RATIOS.get(str(self.granularity), float("inf"))


def mine_pairs(
    encoder: Embeds,
    adapter: str,
    sources: Monolingual,
    targets: Monolingual,
    options: MiningOptions,
) -> Paired:
    """Embed both sides through `adapter` and pair them; memory is that of the vectors of both and
    of one tile of their cosines."""
    texts = [[each.text for each in side.texts] for side in (sources, targets)]
    one, other = (_embed(encoder, adapter, each) for each in texts)
    _log.info("mining sources=%d targets=%d", len(one), len(other))
    of_sources, of_targets = nearest(one, other, options.neighbours)
    return pair(
        of_sources,
        of_targets,
        Side.of(sources.language, texts[0]),
        Side.of(targets.language, texts[1]),
        options.least_margin,
        options.ratio,
    )


def report(
    paired: Paired, sources: Monolingual, targets: Monolingual, options: MiningOptions
) -> dict[str, Any]:
    """What was read, dropped for which reason, and kept; and where the texts of both sides had
    alignment ids, precision, recall and F1 (in percent) of the pairs against them, and the margin
    from which on to accept pairs for the best F1, where it is not the one that was used."""
    found: dict[str, Any] = {
        "granularity": str(options.granularity),
        "k": options.neighbours,
        "least_margin": options.least_margin,
        "most_ratio": options.ratio if options.ratio != float("inf") else None,
        "texts": {
            side.language: {
                "read": side.read,
                "dropped": dict(side.dropped),
                "kept": len(side.texts),
            }
            for side in (sources, targets)
        },
        "neighbours": paired.neighbours,
        "dropped": {str(reason): count for reason, count in paired.dropped.items()},
        "pairs": len(paired.mined.sources),
    }
    if (judged := _judged(paired, sources, targets)) is not None:
        found["withheld"] = judged
    return found


def write_pairs(
    file: Path, paired: Paired, sources: Monolingual, targets: Monolingual, granularity: Granularity
) -> None:
    """Write the pairs as TSV, two rows each, the best margin first: a corpus file whose licence
    column is empty where the licence of a text is not known.

    Raises FileExistsError where `file` exists, and TrainingError where `corpus build` would not
    read a file of that name.
    """
    check_output(file)
    rows = _rows(file.name.split(".")[0], paired, sources, targets, granularity)
    text = "".join("\t".join(row) + "\n" for row in rows)
    replace(file, lambda staged: staged.write_text(text, encoding="utf-8", newline="\n"))


def check_output(file: Path) -> None:
    """Raise what `write_pairs` would of a file's name, before anything is computed."""
    if file.exists():
        raise FileExistsError(f"{file} exists; choose another name or delete it")
    if file.suffix != ".tsv" or file.name.endswith((".pairs.tsv", ".wide.tsv")):
        raise TrainingError(
            f"the output is {file.name!r}; name it NAME.tsv, and not .pairs.tsv or .wide.tsv, "
            "which have other columns"
        )
    if not file.parent.is_dir():
        raise TrainingError(f"{file} cannot be written: there is no folder {file.parent}")


def write_report(file: Path, values: dict[str, Any]) -> None:
    """Write a report as JSON, in place of what stood there."""
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    replace(file, lambda staged: staged.write_text(text, encoding="utf-8"))


def _embed(encoder: Embeds, adapter: str, texts: Sequence[str]) -> Vectors:
    """Unit vectors of `texts`: (n, dim)."""
    parts = (texts[at : at + _EMBED_TEXTS] for at in range(0, len(texts), _EMBED_TEXTS))
    vectors: Vectors | None = None
    for number, part in enumerate(parts):
        found = encoder.embed(part, adapter)
        if vectors is None:
            vectors = np.empty((len(texts), found.shape[1]), np.float32)
        vectors[number * _EMBED_TEXTS :][: len(found)] = found
    if vectors is None:
        raise ValueError("no texts to embed")
    return vectors


def _rows(
    name: str, paired: Paired, sources: Monolingual, targets: Monolingual, granularity: Granularity
) -> Iterator[tuple[str, ...]]:
    yield COLUMNS
    mined = paired.mined
    for number, (i, j, margin) in enumerate(
        zip(mined.sources, mined.targets, mined.margins, strict=True)
    ):
        # The languages are part of the id: files mined for several pairs are built together.
        id_ = f"{name}.{sources.language}-{targets.language}.{number}"
        for side, place in ((sources, i), (targets, j)):
            text = side.texts[place]
            licence = text.licence or ""
            yield id_, licence, str(granularity), side.language, text.text, f"{margin:.4f}"


def _judged(
    paired: Paired, sources: Monolingual, targets: Monolingual
) -> dict[str, float | None] | None:
    """The pairs against the ids: every source that has a partner among the targets is one to be
    found. None where the sides share no id."""
    partners = frozenset().union(*(text.ids for text in targets.texts))
    gold = sum(not text.ids.isdisjoint(partners) for text in sources.texts)
    if not gold:
        return None
    mined = paired.mined
    pairs = zip(mined.sources, mined.targets, strict=True)
    correct = np.array(
        [not sources.texts[i].ids.isdisjoint(targets.texts[j].ids) for i, j in pairs], np.bool_
    )
    judged = Retrieved.of(int(correct.sum()), len(correct), gold)
    best = best_threshold(mined.margins, correct, gold)
    return {
        "precision": judged.precision,
        "recall": judged.recall,
        "f1": judged.f1,
        # Infinite where all pairs, or none, should be accepted.
        "best_margin": best if isfinite(best) else None,
    }
