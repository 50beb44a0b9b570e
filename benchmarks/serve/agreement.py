"""Whether all contestants compute the same: checked before anything is timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks import texts
from benchmarks.serve.contestants import Vectors
from benchmarks.texts import Kind


class Disagreement(RuntimeError):
    """A contestant gives other vectors than the reference."""


def probes(words: Sequence[str]) -> list[str]:
    """Texts of every kind, and at last one of 1,000 words, which every server must cut.

    The vector of that one is the same only where all cut at the same token.
    """
    few = [text for kind in Kind for text in texts.make(words, kind, 8, seed=1)]
    return [*few, " ".join(texts.make(words, Kind.PARAGRAPH, 20, seed=2))[:6_000]]


def cosines(vectors: Vectors, reference: Vectors) -> Vectors:
    """The cosine of each row with the reference's; ValueError where the shapes differ."""
    if vectors.shape != reference.shape:
        raise ValueError(f"vectors are {vectors.shape}, the reference's {reference.shape}")
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(reference, axis=1)
    result: Vectors = (vectors * reference).sum(axis=1) / norms
    return result


def check(found: Mapping[str, Vectors], reference: str, floor: float) -> dict[str, float]:
    """The lowest cosine of each contestant with the contestant `reference`.

    Raises Disagreement, which names all, where one is below `floor`.
    """
    lowest: dict[str, float] = {}
    for name, vectors in found.items():
        try:
            lowest[name] = float(cosines(vectors, found[reference]).min())
        except ValueError as error:
            raise Disagreement(f"{name}: {error}") from None
    if low := [name for name, value in lowest.items() if not value >= floor]:
        values = ", ".join(f"{name} {value:.5f}" for name, value in lowest.items())
        raise Disagreement(
            f"{', '.join(low)} disagree with {reference}; lowest cosines: {values}. Other weights, "
            "another pooling, or another limit of tokens?"
        )
    return lowest
