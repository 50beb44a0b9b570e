"""The corpora whose kind gives the class of their texts, and which of their rows to doubt."""

from __future__ import annotations

import lzma
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from models.bundle import TEXT_GRANULARITIES, Granularity
from training.evaluation.languages import FROM_ISO_639_3

PHRASE, SENTENCE, PARAGRAPH = TEXT_GRANULARITIES

# The LASER test names languages in three letters; here those of them that go by two in other
# corpora. The rest keep their three.
_SHARED = (
    "fra deu spa ita por rus jpn kor cmn ara tur hin vie tha ell pol nld ces fin hun ind ukr "
    "pes heb swe ron bul est swh khm hye kat amh ben tam tel mal mar urd dan cat slk hrv lit "
    "lvs slv srp mkd zsm tgl aze kaz bel isl eus"
)
ISO_639_3 = {"eng": "en"} | {code: FROM_ISO_639_3[code] for code in _SHARED.split()}


@dataclass(frozen=True, slots=True)
class Source:
    """A file of the corpora whose kind determines the class of its texts."""

    name: str
    file: str
    label: Granularity
    keep: Callable[[str], bool] = lambda _: True
    # What two texts must not share to lie in different parts; the row's id where nothing else is.
    group: Callable[[str, str], str] = lambda id, _: id
    # A corpus of sentences that also holds headlines: see `contradicted`.
    may_hold_headings: bool = False


def _osm_name(id: str) -> bool:
    return id.rsplit("/", 1)[-1] not in ("description", "placeholder")


def _tico_document(id: str, _: str) -> str:
    return re.sub(r"^tico(doc)?:([^:]*).*$", r"tico:\2", id)


SOURCES = (
    Source("cldr_names", "train/cldr_names.phrase.wide.tsv.xz", PHRASE),
    Source("cldr_emoji", "train/cldr_emoji.phrase.wide.tsv.xz", PHRASE),
    Source("osm_presets", "train/osm_presets.phrase.wide.tsv.xz", PHRASE, keep=_osm_name),
    Source("omw", "train/omw.phrase.wide.tsv.xz", PHRASE),
    Source("dr5hn_places", "train/dr5hn_places.phrase.wide.tsv.xz", PHRASE),
    Source("mledoze_countries", "train/mledoze_countries.phrase.wide.tsv.xz", PHRASE),
    Source("language_names", "train/language_names.phrase.wide.tsv.xz", PHRASE),
    Source(
        # Rows "ticoterm.g" have shifted columns: their text is a part of speech or a definition.
        "tico19_terms",
        "train/tico19_terms.pairs.tsv.xz",
        PHRASE,
        keep=lambda id: id.startswith("ticoterm.f"),
    ),
    Source(
        "tatoeba_opus",
        "train/tatoeba_opus.pairs.tsv.xz",
        SENTENCE,
        group=lambda _, english: english.casefold(),
    ),
    Source("tatoeba_laser", "eval/tatoeba.pairs.tsv.xz", SENTENCE),
    Source("xcopa", "train/xcopa.sentence.wide.tsv.xz", SENTENCE),
    Source("xquad_questions", "eval/xquad_questions.sentence.wide.tsv.xz", SENTENCE),
    Source(
        "tico19",
        "train/tico19.sentence.wide.tsv.xz",
        SENTENCE,
        group=_tico_document,
        may_hold_headings=True,
    ),
    Source("mlqe_pe", "train/mlqe_pe.pairs.tsv.xz", SENTENCE, may_hold_headings=True),
    Source("xquad_contexts", "eval/xquad_contexts.paragraph.wide.tsv.xz", PARAGRAPH),
    Source(
        "tico19_documents", "train/tico19.paragraph.wide.tsv.xz", PARAGRAPH, group=_tico_document
    ),
    Source("mgsm", "train/mgsm.paragraph.wide.tsv.xz", PARAGRAPH),
    Source("python_docs", "train/python_docs.paragraph.wide.tsv.xz", PARAGRAPH),
    # A single clause of the declaration may be one sentence; a whole article is several.
    Source(
        "udhr_articles",
        "train/udhr.paragraph.wide.tsv.xz",
        PARAGRAPH,
        keep=lambda id: id.endswith(":all"),
    ),
    Source("mozilla_www", "train/mozilla_www.pairs.tsv.xz", PARAGRAPH),
    Source("opensource_guide", "train/opensource_guide.pairs.tsv.xz", PARAGRAPH),
)


def read_tsv(path: Path) -> Iterator[dict[str, str]]:
    """The rows of an xz-compressed TSV file with a header line, as dictionaries."""
    with lzma.open(path, "rt", encoding="utf-8", newline="\n") as file:
        header = next(file).rstrip("\n").split("\t")
        for number, line in enumerate(file, start=2):
            fields = line.rstrip("\n").split("\t")
            if len(fields) != len(header):
                raise click.ClickException(
                    f"{path}, line {number}: {len(fields)} fields, the header has {len(header)}"
                )
            yield dict(zip(header, fields, strict=True))


def versions_of(source: Source, data: Path) -> Iterator[tuple[str, str, dict[str, str]]]:
    """(id, group, text per language) of every row that `source` keeps."""
    wide: dict[str, dict[str, str]] = defaultdict(dict)
    groups: dict[str, str] = {}
    for row in read_tsv(data / source.file):
        if row.get("granularity", source.label) != source.label or not source.keep(row["id"]):
            continue
        id = row["id"]
        if "text" in row:
            wide[id].setdefault(row["lang"], row["text"])
            groups[id] = source.group(id, "")
        elif row["lang_a"] == "en":
            language = ISO_639_3.get(row["lang_b"], row["lang_b"])
            # Tatoeba and MLQE number their pairs: there an id has one language beside English.
            wide[id]["en"] = row["text_a"]
            wide[id].setdefault(language, row["text_b"])
            groups[id] = source.group(id, row["text_a"])
    for id, texts in wide.items():
        yield id, groups[id], texts


# What anyone would call the end of a sentence with another one after it. Deliberately not the
# router's rule: no abbreviation, no closing quote, no doubt; used to check labels, by a majority of
# a text's translations, never by the text alone.
_PLAIN_BOUNDARY = re.compile(
    r"[。！？]\s*\w"
    r"|[!?؟।۔።։]\s+[^\W\da-zа-яёα-ωա-ֆ_]"
    r"|[^\W\d_A-ZА-Я]{4}\.\s+[^\W\da-zа-яёα-ωա-ֆ_]"
)
# English after a semicolon is no sentence end; the class is for Greek, whose question mark it is.
_FINAL_MARK = re.compile(r"""[.!?…;。！？।॥|؟۔።։]["'»«”“’)」』）\s]*$""")


def contradicted(source: Source, texts: Mapping[str, str]) -> bool:
    """Whether a text and its translations, taken together, speak against their source's class.

    A row stays where no majority of its versions does, so a label is never changed by the text that
    is judged, and never by the router.
    """
    versions = list(texts.values())
    if source.label is PHRASE:
        return False
    several = sum(bool(_PLAIN_BOUNDARY.search(text)) for text in versions) / len(versions)
    if source.label is PARAGRAPH:
        return several <= 0.5
    marked = sum(bool(_FINAL_MARK.search(text)) for text in versions) / len(versions)
    return several > 0.5 or (source.may_hold_headings and marked <= 0.5)
