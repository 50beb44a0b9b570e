"""Tell that a text is not in the language it is said to be in; docs/adr/0006 says how well."""

from __future__ import annotations

from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from training.corpora.scripts import Profile, scripts_of

# Below this a text is too short to be told; in characters of an alphabet.
MINIMUM_WEIGHT = 20.0
# What the identifier must give another language before we believe it.
MINIMUM_PROBABILITY = 0.8
# And the most that it may leave to the language that the text is said to be in. Dialects and old
# spellings get more, whatever it takes them for; a text in another language gets next to nothing.
MAXIMUM_CLAIMED = 0.02

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

    False for texts too short to be told, languages that the identifier does not know, or not in
    the script that is named, and languages like each other.
    """
    claimed = _base(language)
    identifier, known = _identifier()
    if claimed not in known or profile.weight < MINIMUM_WEIGHT or _is_rare_script(language):
        return False
    # Cut: a thousand characters tell as much as the whole.
    text = text[:1000]
    found, probability = identifier.classify(text)
    if probability < MINIMUM_PROBABILITY or are_close(found, claimed):
        return False
    return bool(dict(identifier.rank(text))[claimed] <= MAXIMUM_CLAIMED)


def are_close(one: str, other: str) -> bool:
    """Whether no identifier tells the two languages apart by a sentence."""
    one, other = _base(one), _base(other)
    return _STANDS_FOR.get(one, one) == _STANDS_FOR.get(other, other)


def _base(language: str) -> str:
    return language.replace("_", "-").split("-")[0]


def _is_rare_script(language: str) -> bool:
    """Whether the code names a script that we do not know its language to be written in, such as
    Acehnese in Arabic letters: the identifier has learned the usual one."""
    scripts, usual = scripts_of(language), scripts_of(_base(language))
    return scripts is not None and (usual is None or scripts.isdisjoint(usual))


@cache
def _identifier() -> tuple[LanguageIdentifier, frozenset[str]]:
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    return identifier, frozenset(identifier.labels)
