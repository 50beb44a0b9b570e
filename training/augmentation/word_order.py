"""Words in another order."""

from __future__ import annotations

import numpy as np

from training.augmentation.pieces import pieces, spaced_words

WINDOW = 3


def shuffle_words(text: str, rate: float, rng: np.random.Generator, window: int = WINDOW) -> str:
    """Shuffle, with probability `rate`, each `window` words that follow each other.

    The words stay what they are, and what stands between them stays where it is; a word moves by
    less than `window` places. Runs of scripts without spaces between words do not move.
    """
    if window < 2:
        raise ValueError(f"window is {window}; at least two words are needed to change places")
    parts = pieces(text)
    places = list(spaced_words(parts))
    # Windows begin anywhere, so that no border between two words is safe.
    first = int(rng.integers(window))
    for start in range(first - window, len(places), window):
        chosen = places[max(0, start) : start + window]
        if len(chosen) > 1 and rng.random() < rate:
            order = rng.permutation(len(chosen))
            if np.all(order == np.arange(len(chosen))):
                order = np.roll(order, 1)
            words = [parts[chosen[at]] for at in order]
            for place, word in zip(chosen, words, strict=True):
                parts[place] = word
    return "".join(parts)
