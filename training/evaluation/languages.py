"""The languages that the evaluation speaks of: which are the core, and how Tatoeba codes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ANCHOR = "en"

# The languages that the default model promises. English is the anchor of most test sets, so a mean
# "over the core" is over these but English wherever the other side is English.
CORE = (
    "en", "fr", "de", "es", "it", "pt", "ru", "ja", "ko", "zh", "ar", "tr", "hi", "vi", "th",
    "el", "pl", "nl", "cs", "fi", "hu", "id", "uk", "fa", "he", "sv", "ro", "bg", "et", "sw",
)  # fmt: skip
CORE_WITHOUT_ENGLISH = tuple(language for language in CORE if language != ANCHOR)

# LASER's Tatoeba names languages by ISO 639-3; here those that have an ISO 639-1 code, under which
# everything else names them. Persian, Mandarin, Malay and Swahili go by their macrolanguage.
FROM_ISO_639_3 = {
    "afr": "af", "amh": "am", "ara": "ar", "aze": "az", "bel": "be", "ben": "bn", "bos": "bs",
    "bre": "br", "bul": "bg", "cat": "ca", "ces": "cs", "cha": "ch", "cmn": "zh", "cor": "kw",
    "cym": "cy", "dan": "da", "deu": "de", "ell": "el", "epo": "eo", "est": "et", "eus": "eu",
    "fao": "fo", "fin": "fi", "fra": "fr", "fry": "fy", "gla": "gd", "gle": "ga", "glg": "gl",
    "heb": "he", "hin": "hi", "hrv": "hr", "hun": "hu", "hye": "hy", "ido": "io", "ile": "ie",
    "ina": "ia", "ind": "id", "isl": "is", "ita": "it", "jav": "jv", "jpn": "ja", "kat": "ka",
    "kaz": "kk", "khm": "km", "kor": "ko", "kur": "ku", "lat": "la", "lit": "lt", "lvs": "lv",
    "mal": "ml", "mar": "mr", "mkd": "mk", "mon": "mn", "nld": "nl", "nno": "nn", "nob": "nb",
    "oci": "oc", "pes": "fa", "pol": "pl", "por": "pt", "ron": "ro", "rus": "ru", "slk": "sk",
    "slv": "sl", "spa": "es", "sqi": "sq", "srp": "sr", "swe": "sv", "swh": "sw", "tam": "ta",
    "tat": "tt", "tel": "te", "tgl": "tl", "tha": "th", "tuk": "tk", "tur": "tr", "uig": "ug",
    "ukr": "uk", "urd": "ur", "uzb": "uz", "vie": "vi", "xho": "xh", "yid": "yi", "zsm": "ms",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Languages:
    """Which languages a run scores. English is always among them: the test sets rest on it."""

    # None: every language that a test set has.
    chosen: frozenset[str] | None

    @classmethod
    def parse(cls, words: Sequence[str]) -> Languages:
        """`core`, `all` or language codes; `core` may stand among codes."""
        if "all" in words:
            return cls(None)
        names = {name for word in words for name in (CORE if word == "core" else (word,))}
        return cls(frozenset(names | {ANCHOR}))

    def __contains__(self, language: str) -> bool:
        return self.chosen is None or language in self.chosen
