"""Which language a text is in, told without a network; docs/adr/0015 says how well."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from service.retrieval.values import UNDETERMINED

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

# A language of all that the identifier knows is believed from this probability on; below it, those
# of the bundle are likelier than others, and one of them is taken that has this share among them.
SURE = 0.8
LIKELY = 0.5

# A thousand characters tell as much as the whole.
_READ_CHARACTERS = 1_000

_loading = threading.Lock()


def detect(texts: Sequence[str], likely: Sequence[str]) -> list[str]:
    """The language of each text, ISO 639-1 where it has a code there; `und` where none is clear.

    `likely` are the languages that texts are in more often than not.
    """
    identifier = _identifier()
    expected = frozenset(language.replace("_", "-").split("-")[0] for language in likely)
    return [_detect(identifier, text[:_READ_CHARACTERS], expected) for text in texts]


def _detect(identifier: LanguageIdentifier, text: str, expected: frozenset[str]) -> str:
    ranked: list[tuple[str, float]] = identifier.rank(text)
    best, probability = ranked[0]
    if probability >= SURE:
        return str(best)
    among = [(language, float(share)) for language, share in ranked if language in expected]
    total = sum(share for _, share in among)
    if among and among[0][1] >= LIKELY * total and total > 0:
        return str(among[0][0])
    return UNDETERMINED


def _identifier() -> LanguageIdentifier:
    with _loading:
        return _load()


@cache
def _load() -> LanguageIdentifier:
    # Takes half a second and some 90 MB, so only where somebody leaves the language out.
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
