"""What is wrong with a row by itself, and with a row among its translations.

Both are pure functions; `build` applies them to millions of rows and counts.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import groupby

from training.corpora.identification import language_mismatch
from training.corpora.overlap import fingerprint
from training.corpora.rows import Row
from training.corpora.scripts import Profile, ScriptGroup, profile, scripts_of
from training.corpora.tsv import ANCHOR


class Reason(StrEnum):
    """Why a row was dropped, in the order in which a row is asked."""

    EVALUATION = "evaluation"  # a text of its id is in a test set
    NO_LETTERS = "no letters"
    CONTROL = "control characters"
    LENGTH = "length"  # too short or too long for its granularity
    SCRIPT = "script"  # not what its language is written in
    LANGUAGE = "language"  # in another language, by the identifier
    REPEATED = "repeated in its id"
    UNTRANSLATED = "untranslated"  # the anchor's own words
    RATIO = "length ratio"  # much longer or shorter than the anchor
    DUPLICATE = "duplicate"  # the same text with the same anchor, under another id
    ALONE = "nothing aligned left"


_GROUPS = (ScriptGroup.ALPHABETIC, ScriptGroup.HANGUL, ScriptGroup.IDEOGRAPHIC)
# Fewest and most characters, by granularity and, in the order above, script group.
LENGTHS: Mapping[str, Mapping[ScriptGroup, tuple[int, int]]] = {
    granularity: dict(zip(_GROUPS, limits, strict=True))
    for granularity, limits in {
        "phrase": ((1, 120), (1, 60), (1, 50)),
        "sentence": ((3, 600), (2, 350), (2, 250)),
        "paragraph": ((40, 6000), (20, 3500), (16, 2500)),
    }.items()
}
# How many times longer one text may be than its anchor, in characters of an alphabet, after
# `RATIO_GRACE` was added to both: short texts differ more. Names may differ by any ratio.
RATIOS: Mapping[str, float] = {"sentence": 3.0, "paragraph": 2.5}
RATIO_GRACE = 15.0
# The least part of a text's letters that must stand in its language's scripts. Technical text is
# full of Latin names, whatever its language.
SCRIPT_SHARES: Mapping[str, float] = {"sentence": 0.25, "paragraph": 0.25}
# Replacement character, and what has no meaning outside one program.
_FOREIGN = frozenset({"Cc", "Co", "Cs"})
_GRANULARITY_ORDER = {name: place for place, name in enumerate(LENGTHS)}


def normalise(text: str) -> str:
    """NFC, with every run of white space one space and none at the ends."""
    return unicodedata.normalize("NFC", " ".join(text.split()))


def row_fault(
    granularity: str, language: str, text: str, banned: frozenset[bytes]
) -> Reason | None:
    """What is wrong with a normalised text by itself, or None.

    `banned` holds the fingerprints of evaluation texts (`overlap.fingerprints`).
    """
    mark = fingerprint(text)
    if mark is not None and mark in banned:
        return Reason.EVALUATION
    found = profile(text)
    if not found.letter_count:
        return Reason.NO_LETTERS
    if not text.isprintable() and any(
        unicodedata.category(character) in _FOREIGN for character in text
    ):
        return Reason.CONTROL
    if "\ufffd" in text:
        return Reason.CONTROL
    shortest, longest = LENGTHS[granularity][found.group]
    if not shortest <= found.characters <= longest:
        return Reason.LENGTH
    if _wrong_script(granularity, language, found):
        return Reason.SCRIPT
    # A phrase has too few letters, and too many names, for any identifier.
    if granularity != "phrase" and language_mismatch(text, language, found):
        return Reason.LANGUAGE
    return None


def _wrong_script(granularity: str, language: str, found: Profile) -> bool:
    scripts = scripts_of(language)
    if scripts is None:
        return False
    if granularity == "phrase":
        # Names keep their Latin letters in every language.
        return found.share(scripts | {"LATIN"}) < 0.5
    least = 0.5 if scripts == {"LATIN"} else SCRIPT_SHARES[granularity]
    return found.share(scripts) < least


Dropped = tuple[Row, Reason]


class EntityCleaner:
    """Cleans the rows of one alignment id after the other; remembers every aligned text (about
    100 bytes each) to know it again under another id."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def clean(self, rows: Sequence[Row], is_evaluation: bool) -> tuple[list[Row], list[Dropped]]:
        """Part the rows of one id into those to keep and those to drop.

        Kept rows are sorted by granularity, then English first, then by language, then as given.
        `is_evaluation`: a text of this id is in a test set, so all of it goes.
        """
        if is_evaluation:
            return [], [(row, Reason.EVALUATION) for row in rows]
        kept: list[Row] = []
        dropped: list[Dropped] = []
        for _, group in groupby(sorted(rows, key=_order), key=lambda row: row.granularity):
            self._clean_granularity(list(group), kept, dropped)
        # A name and its description in one language are aligned; two synonyms are not.
        if len({row.language for row in kept}) < 2 and len({row.granularity for row in kept}) < 2:
            dropped += ((row, Reason.ALONE) for row in kept)
            kept = []
        return kept, dropped

    def _clean_granularity(self, rows: list[Row], kept: list[Row], dropped: list[Dropped]) -> None:
        anchor = rows[0]
        anchor_weight = profile(anchor.text).weight
        anchor_mark = fingerprint(anchor.text)
        in_id: set[tuple[str, str]] = set()
        for row in rows:
            reason = None
            if (row.language, row.text) in in_id:
                reason = Reason.REPEATED
            elif row.language != anchor.language and row.granularity in RATIOS:
                if fingerprint(row.text) == anchor_mark:
                    reason = Reason.UNTRANSLATED
                elif _ratio(profile(row.text).weight, anchor_weight) > RATIOS[row.granularity]:
                    reason = Reason.RATIO
            in_id.add((row.language, row.text))
            # An anchor falls with its translations, for their sake only does it stand.
            if reason is None and row is not anchor:
                mark = _pair_mark(anchor, row)
                if mark in self._seen:
                    reason = Reason.DUPLICATE
                self._seen.add(mark)
            if reason is None:
                kept.append(row)
            else:
                dropped.append((row, reason))


def _order(row: Row) -> tuple[int, bool, str]:
    return _GRANULARITY_ORDER[row.granularity], row.language != ANCHOR, row.language


def _ratio(a: float, b: float) -> float:
    return (max(a, b) + RATIO_GRACE) / (min(a, b) + RATIO_GRACE)


def _pair_mark(anchor: Row, row: Row) -> bytes:
    parts = (row.granularity, anchor.language, anchor.text, row.language, row.text)
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=12).digest()
