"""Tell that a text is not in the language it is said to be in; docs/adr/0006 says how well."""

from __future__ import annotations

from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from training.corpora.scripts import Profile

# Below this a text is too short to be told; in characters of an alphabet.
MINIMUM_WEIGHT = 20.0
# What the identifier must give another language before we believe it.
MINIMUM_PROBABILITY = 0.8

# Languages that no identifier tells apart by a sentence, by the code that stands for them.
_STANDS_FOR = {
    code: group.split()[0]
    for group in (
        "en pcm",
        "id ms jv su min bjn",
        "hr sr bs sh cnr",
        "nb nn no da",
        "zh yue wuu lzh cmn",
        "hi mr ne sa gom bho mai hne mag",
        "ar arz ary",
        "fa prs",
        "he hbo yi",
        "uz uzs az tr tk crh",
        "et vro",
        "lv ltg",
        "el grc",
        "ps pbt",
        "ku sdh",
        "tl ceb bcl",
        "de lb nds",
        "pt gl",
    )
    for code in group.split()
}


def language_mismatch(text: str, language: str, profile: Profile) -> bool:
    """True where `text` is, nearly surely, in a language other than `language`.

    False for texts too short to be told, languages that the identifier does not know, and
    languages like each other.
    """
    claimed = language.replace("_", "-").split("-")[0]
    identifier, known = _identifier()
    if claimed not in known or profile.weight < MINIMUM_WEIGHT:
        return False
    # Cut: a thousand characters tell as much as the whole.
    found, probability = identifier.classify(text[:1000])
    if probability < MINIMUM_PROBABILITY:
        return False
    return bool(_STANDS_FOR.get(found, found) != _STANDS_FOR.get(claimed, claimed))


@cache
def _identifier() -> tuple[LanguageIdentifier, frozenset[str]]:
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    return identifier, frozenset(identifier.labels)
