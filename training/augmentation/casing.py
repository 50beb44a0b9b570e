"""Words in capitals, small letters, or with a capital."""

from __future__ import annotations

import numpy as np

from training.augmentation.pieces import pieces


def change_casing(text: str, rate: float, rng: np.random.Generator) -> str:
    """Write each word that has case, with probability `rate`, in another: small letters, capitals,
    or a capital and small letters.

    Nothing but case changes: texts stay equal under casefold. Scripts without case stay.
    """
    parts = pieces(text)
    for place in range(1, len(parts), 2):
        if rng.random() < rate and (others := _other_cases(parts[place])):
            parts[place] = others[int(rng.integers(len(others)))]
    return "".join(parts)


def _other_cases(word: str) -> list[str]:
    forms = dict.fromkeys((word.lower(), word.upper(), word[:1].upper() + word[1:].lower()))
    # Some letters have no way back, like the Turkish dotless i.
    return [form for form in forms if form != word and form.casefold() == word.casefold()]
