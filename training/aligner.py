"""A statistical word aligner: who translates whom, counted over many pairs of texts.

IBM model 2 as fast_align has it (Dyer, Chahuneau and Smith, 2013): every word of one text was
made by a word of the other or by none, more likely by one at a like place. Fitted both ways; a link
is what both ways agree on. It knows no meaning, but the small words that dictionaries leave out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

# fast_align's: the chance of having been made by no word, how steeply chances fall with distance
# from the diagonal, rounds of EM, and the Dirichlet prior of what a word makes.
NULL = 0.08
TENSION = 4.0
ROUNDS = 5
ALPHA = 0.01

# Of words that never met. Above nothing, so that places decide among them.
_UNSEEN = 1e-9
# Of words written alike that never met: names and numbers.
_ALIKE = 0.5

Pair = tuple[Sequence[str], Sequence[str]]
Floats = NDArray[np.floating]
Integers = NDArray[np.int64]


class Aligner:
    """Links words of a pair of texts in two languages."""

    def __init__(self, forth: _Model, back: _Model) -> None:
        self._forth, self._back = forth, back

    @classmethod
    def fit(cls, pairs: Iterable[Pair]) -> Aligner:
        """Learn from translations, each given as the words of both texts, in any case.

        Memory and time grow with the sum of the products of both texts' words.
        """
        known = [(left, right) for left, right in pairs if left and right]
        return cls(_Model.fit(known), _Model.fit([(right, left) for left, right in known]))

    def links(self, left: Sequence[str], right: Sequence[str]) -> list[tuple[int, int]]:
        """Who made whom both ways: (left word, right word), in the left words' order.

        Every word is in one link at most. Words that were never seen link where they are written
        alike, or by their places where nothing else is likelier.
        """
        if not left or not right:
            return []
        makers = self._forth.makers(left, right)
        made = self._back.makers(right, left)
        return [(i, j) for i, j in enumerate(made) if j >= 0 and makers[j] == i]


@dataclass(frozen=True, slots=True)
class _Model:
    """What each source word makes: the chance of a target word, by one sorted table of keys."""

    sources: dict[str, int]  # the number of a word; 0 is no word
    targets: dict[str, int]
    keys: Integers  # (entries,), source x number of targets + target, rising
    chances: Floats  # (entries,)

    @classmethod
    def fit(cls, pairs: Sequence[Pair]) -> _Model:
        sources = _numbers((word for source, _ in pairs for word in source), first=1)
        targets = _numbers((word for _, target in pairs for word in target), first=0)
        if not pairs:
            return cls(sources, targets, np.empty(0, np.int64), np.empty(0))
        cells = _Cells.of(pairs, sources, targets)
        keys, entry = np.unique(cells.source * len(targets) + cells.target, return_inverse=True)
        maker = keys // len(targets)
        chances = np.ones(len(keys))
        for _ in range(ROUNDS):
            share = chances[entry] * cells.prior
            share /= np.repeat(np.add.reduceat(share, cells.starts), cells.sizes)
            counts = np.bincount(entry, share, len(keys))
            totals = np.bincount(maker, counts, len(sources) + 1)
            chances = np.exp(
                _digamma(counts + ALPHA) - _digamma(totals + ALPHA * len(targets))[maker]
            )
        return cls(sources, targets, keys, chances)

    def makers(self, source: Sequence[str], target: Sequence[str]) -> list[int]:
        """Of each target word, the place of the source word that most likely made it; -1: none."""
        from_ = np.array([0, *(self.sources.get(word.casefold(), -1) for word in source)])
        to = np.array([self.targets.get(word.casefold(), -1) for word in target])
        chances = self._chances(from_, to)
        alike = [[one.casefold() == other.casefold() for one in source] for other in target]
        chances[:, 1:] = np.where(
            np.array(alike) & (chances[:, 1:] <= _UNSEEN), _ALIKE, chances[:, 1:]
        )
        return [int(best) - 1 for best in (chances * _prior(len(source), len(target))).argmax(1)]

    def _chances(self, source: Integers, target: Integers) -> Floats:
        """(target words, source words with none first)."""
        wanted = source[None, :] * len(self.targets) + target[:, None]
        if not len(self.keys):
            return np.full(wanted.shape, _UNSEEN)
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        found = (self.keys[place] == wanted) & (source[None, :] >= 0) & (target[:, None] >= 0)
        return np.where(found, np.maximum(self.chances[place], _UNSEEN), _UNSEEN)


@dataclass(frozen=True, slots=True)
class _Cells:
    """Every target word of every pair beside every source word that may have made it.

    Pair after pair, target word after target word, and for each: none, then the source words.
    """

    source: Integers  # (cells,)
    target: Integers  # (cells,)
    prior: Floats  # (cells,)
    starts: Integers  # (target words,), where a target word's cells begin
    sizes: Integers  # (target words,), how many they are

    @classmethod
    def of(cls, pairs: Sequence[Pair], sources: dict[str, int], targets: dict[str, int]) -> _Cells:
        one, other, prior, sizes = [], [], [], []
        of_shape: dict[tuple[int, int], Floats] = {}
        for source, target in pairs:
            shape = (len(source), len(target))
            if shape not in of_shape:
                of_shape[shape] = _prior(*shape).ravel()
            from_ = [0, *(sources[word.casefold()] for word in source)]
            to = [targets[word.casefold()] for word in target]
            one.append(np.tile(np.array(from_), shape[1]))
            other.append(np.repeat(np.array(to), shape[0] + 1))
            prior.append(of_shape[shape])
            sizes.append(np.full(shape[1], shape[0] + 1))
        size = np.concatenate(sizes)
        starts = np.concatenate([[0], np.cumsum(size)[:-1]])
        columns = [np.concatenate(each) for each in (one, other)]
        return cls(columns[0], columns[1], np.concatenate(prior), starts, size)


def _prior(sources: int, targets: int) -> Floats:
    """The chance that a target word was made by none or by each source word, before the words
    are looked at: (targets, 1 + sources), rows sum to 1."""
    places = (np.arange(sources) + 0.5) / sources, (np.arange(targets) + 0.5) / targets
    near = np.exp(-TENSION * np.abs(places[1][:, None] - places[0][None, :]))
    near *= (1 - NULL) / near.sum(1, keepdims=True)
    return np.concatenate([np.full((targets, 1), NULL), near], axis=1)


def _numbers(words: Iterable[str], first: int) -> dict[str, int]:
    found: dict[str, int] = {}
    for word in words:
        found.setdefault(word.casefold(), len(found) + first)
    return found


def _digamma(values: Floats) -> Floats:
    result: Floats = torch.digamma(torch.from_numpy(values)).numpy()
    return result
