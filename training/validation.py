"""Pairs held out of training, and how well a model finds each text's partner among them."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from training.corpora.overlap import fingerprint
from training.corpora.tsv import Pair
from training.errors import TrainingError

# Pairs looked at per wanted one, since some share a text with one that is held out already.
_DRAWS_PER_PAIR = 4


def hold_out(
    pairs: Mapping[str, Sequence[Pair]], count: int
) -> tuple[dict[str, list[Pair]], list[Pair]]:
    """Part `pairs`, by language, into those to train on and `count` to validate on.

    The choice follows a hash of language and English text alone, so it is the same every time and
    in any order of the pairs. Languages give equal parts, as far as a tenth of their pairs goes.
    No text of a held-out pair, in letters and digits, stands in any pair to train on, nor twice
    among those held out.

    Raises TrainingError where the pairs do not suffice.
    """
    held: list[Pair] = []
    marks: set[bytes | None] = set()
    # Languages with few pairs first: what they cannot give falls to the others.
    order = sorted(pairs, key=lambda language: (len(pairs[language]), language))
    for place, language in enumerate(order):
        pool = pairs[language]
        quota = min(len(pool) // 10, -(-(count - len(held)) // (len(order) - place)))
        for pair in heapq.nsmallest(quota * _DRAWS_PER_PAIR, pool, key=_draw):
            if quota == 0:
                break
            sides = {fingerprint(pair.english), fingerprint(pair.other)}
            if marks.isdisjoint(sides):
                marks |= sides
                held.append(pair)
                quota -= 1
    if len(held) < count:
        raise TrainingError(
            f"{count} pairs are to be held out for validation, and the corpora can spare "
            f"{len(held)}, a tenth of each language: ask for fewer"
        )
    kept = {
        language: [
            pair
            for pair in pool
            if fingerprint(pair.english) not in marks and fingerprint(pair.other) not in marks
        ]
        for language, pool in pairs.items()
    }
    return kept, held


def retrieval_accuracy(left: Tensor, right: Tensor) -> float:
    """The share of rows whose partner, the same row of the other side, is the nearest by cosine
    among all rows, mean of both directions; a tie is a miss. `left` and `right` are (pairs, dim).
    """
    cosines = normalize(left.float(), dim=-1) @ normalize(right.float(), dim=-1).T
    own = cosines.diagonal()
    found = [(cosines >= own.unsqueeze(dim)).sum(dim) == 1 for dim in (0, 1)]
    return float(torch.stack(found).float().mean())


def measure(
    left: Tensor,
    right: Tensor,
    objective: Callable[[Tensor, Tensor], Tensor],
    prefixes: Sequence[int],
) -> dict[str, float]:
    """Loss and retrieval accuracy over held-out pairs, (pairs, dim) each side; the accuracy of
    every Matryoshka prefix as well."""
    metrics = {
        "validation_loss": objective(left, right).item(),
        "validation_accuracy": retrieval_accuracy(left, right),
    }
    for width in prefixes:
        accuracy = retrieval_accuracy(left[:, :width], right[:, :width])
        metrics[f"validation_accuracy_{width}"] = accuracy
    return metrics


def averaged(found: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The mean of each metric over what was measured, and, of more than one, each by its name."""
    names = next(iter(found.values()))
    metrics = {name: sum(each[name] for each in found.values()) / len(found) for name in names}
    if len(found) > 1:
        for key, each in found.items():
            metrics |= {f"{name}.{key}": value for name, value in each.items()}
    return metrics


def _draw(pair: Pair) -> bytes:
    text = f"{pair.language}\0{pair.english}\0{pair.other}"
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
