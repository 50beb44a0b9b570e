"""What is wrong with a row by itself, and with a row among its translations.

Both are pure functions; `build` applies them to millions of rows and counts.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import groupby
from statistics import median_low

from training.corpora.identification import are_close, language_mismatch
from training.corpora.overlap import fingerprint
from training.corpora.rows import Row
from training.corpora.scripts import Profile, ScriptGroup, profile, scripts_of
from training.corpora.tsv import ANCHOR


class Reason(StrEnum):
    """Why a row was dropped, in the order in which a row is asked."""

    EVALUATION = "evaluation"  # it is in a test set, or a longer text of its id is
    NO_LETTERS = "no letters"
    CONTROL = "control characters"
    LENGTH = "length"  # too short or too long for its granularity
    SCRIPT = "script"  # not what its language is written in
    LANGUAGE = "language"  # in another language, by the identifier
    REPEATED = "repeated in its id"
    UNTRANSLATED = "untranslated"  # the anchor's own words
    RATIO = "length ratio"  # much longer or shorter than what it should say
    DUPLICATE = "duplicate"  # the same text with the same anchor, under another id
    ALONE = "nothing aligned left"


_GROUPS = (ScriptGroup.ALPHABETIC, ScriptGroup.HANGUL, ScriptGroup.IDEOGRAPHIC)
# Fewest and most characters, by granularity and, in the order above, script group.
LENGTHS: Mapping[str, Mapping[ScriptGroup, tuple[int, int]]] = {
    granularity: dict(zip(_GROUPS, limits, strict=True))
    for granularity, limits in {
        "phrase": ((1, 120), (1, 60), (1, 50)),
        "sentence": ((3, 600), (2, 350), (2, 250)),
        "paragraph": ((25, 6000), (12, 3500), (10, 2500)),
    }.items()
}
# How many times longer a text may be than its English, or than the median of its id where there is
# none, in characters of an alphabet, after `RATIO_GRACE` was added to both: short texts differ
# more. Names may differ by any ratio.
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

    def clean(
        self, rows: Sequence[Row], in_evaluation: Sequence[bool]
    ) -> tuple[list[Row], list[Dropped]]:
        """Part the rows of one id into those to keep and those to drop.

        Kept rows are sorted by granularity, then English first, then by language, then as given.
        `in_evaluation` tells of each row that its text is in a test set. A phrase goes alone: no
        pair is left that holds it, and the same thing's names in other languages are no test. For
        a sentence or a paragraph, all of its id goes: the rest translates the test.
        """
        kept: list[Row] = []
        dropped = [
            (row, Reason.EVALUATION)
            for row, found in zip(rows, in_evaluation, strict=True)
            if found
        ]
        if any(row.granularity != "phrase" for row, _ in dropped):
            return [], [(row, Reason.EVALUATION) for row in rows]
        rows = [row for row, found in zip(rows, in_evaluation, strict=True) if not found]
        for _, group in groupby(sorted(rows, key=_order), key=lambda row: row.granularity):
            self._clean_granularity(list(group), kept, dropped)
        # A name and its description in one language are aligned; two synonyms are not.
        if len({row.language for row in kept}) < 2 and len({row.granularity for row in kept}) < 2:
            dropped += ((row, Reason.ALONE) for row in kept)
            kept = []
        return kept, dropped

    def _clean_granularity(self, rows: list[Row], kept: list[Row], dropped: list[Dropped]) -> None:
        limit = RATIOS.get(rows[0].granularity)
        usual = _usual_weight(rows) if limit is not None else 0.0
        anchor: Row | None = None
        in_id: set[tuple[str, str]] = set()
        for row in rows:
            reason = None
            if (row.language, row.text) in in_id:
                reason = Reason.REPEATED
            elif limit is not None and anchor is not None and _is_copy(row, anchor):
                reason = Reason.UNTRANSLATED
            elif limit is not None and length_ratio(profile(row.text).weight, usual) > limit:
                reason = Reason.RATIO
            elif anchor is None:
                # The anchor falls with its translations, for their sake only does it stand.
                anchor = row
            else:
                mark = _pair_mark(anchor, row)
                if mark in self._seen:
                    reason = Reason.DUPLICATE
                self._seen.add(mark)
            in_id.add((row.language, row.text))
            if reason is None:
                kept.append(row)
            else:
                dropped.append((row, reason))


def _usual_weight(rows: Sequence[Row]) -> float:
    """How long a text of this id should be: as the English, or, without one, as the median of the
    languages' first texts, the shorter of two; any one of them may be wrong."""
    firsts = {row.language: row for row in reversed(rows)}
    if (english := firsts.get(ANCHOR)) is not None:
        return profile(english.text).weight
    return median_low(profile(row.text).weight for row in firsts.values())


def _is_copy(row: Row, anchor: Row) -> bool:
    """Whether a text is its anchor's, letter for letter. Languages too close to be told apart do
    share sentences; in them that is a translation."""
    return not are_close(row.language, anchor.language) and fingerprint(row.text) == fingerprint(
        anchor.text
    )


def _order(row: Row) -> tuple[int, bool, str]:
    return _GRANULARITY_ORDER[row.granularity], row.language != ANCHOR, row.language


def length_ratio(one: float, other: float) -> float:
    """How many times longer the longer of two texts is, by their weights, as `RATIOS` bounds it."""
    return (max(one, other) + RATIO_GRACE) / (min(one, other) + RATIO_GRACE)


def _pair_mark(anchor: Row, row: Row) -> bytes:
    parts = (row.granularity, anchor.language, anchor.text, row.language, row.text)
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=12).digest()
