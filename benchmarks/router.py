"""How often, and how fast, the granularity router is right on text that it was not tuned on.

    python -m benchmarks.router --data DATA

prints the table per language, the confusion table, what was set aside and why, and the time per
text. docs/routing.md says how to read it. `--fit` fits the weights that
`service/encoding/routing/weights.py` carries, on the training part only.
"""

from __future__ import annotations

import hashlib
import lzma
import math
import random
import re
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from models.bundle import TEXT_GRANULARITIES, Granularity
from service.encoding.granularity import route
from service.encoding.routing.markless import sentence_features, several_features
from service.encoding.routing.scripts import Script, script_of

PHRASE, SENTENCE, PARAGRAPH = TEXT_GRANULARITIES

LANGUAGES = (
    "en fr de es it pt ru ja ko zh ar tr hi vi th el pl nl cs fi hu id uk fa he sv ro bg et sw"
)

# The LASER test names languages in three letters, and Mandarin, Persian, Estonian, Swahili its way.
ISO_639_3 = {
    "eng": "en",
    "fra": "fr",
    "deu": "de",
    "spa": "es",
    "ita": "it",
    "por": "pt",
    "rus": "ru",
    "jpn": "ja",
    "kor": "ko",
    "cmn": "zh",
    "ara": "ar",
    "tur": "tr",
    "hin": "hi",
    "vie": "vi",
    "tha": "th",
    "ell": "el",
    "pol": "pl",
    "nld": "nl",
    "ces": "cs",
    "fin": "fi",
    "hun": "hu",
    "ind": "id",
    "ukr": "uk",
    "pes": "fa",
    "heb": "he",
    "swe": "sv",
    "ron": "ro",
    "bul": "bg",
    "est": "et",
    "swh": "sw",
    "khm": "km",
    "hye": "hy",
    "kat": "ka",
    "amh": "am",
    "ben": "bn",
    "tam": "ta",
    "tel": "te",
    "mal": "ml",
    "mar": "mr",
    "urd": "ur",
    "dan": "da",
    "cat": "ca",
    "slk": "sk",
    "hrv": "hr",
    "lit": "lt",
    "lvs": "lv",
    "slv": "sl",
    "srp": "sr",
    "mkd": "mk",
    "zsm": "ms",
    "tgl": "tl",
    "aze": "az",
    "kaz": "kk",
    "bel": "be",
    "isl": "is",
    "eus": "eu",
}

# Rows of one class and language that are measured, per part: enough for a half-width of 1.5 %.
ROWS_PER_CLASS = 400
UNSPACED_JOIN = {"zh", "ja", "zh-Hant"}


@dataclass(frozen=True, slots=True)
class Row:
    """One text, the class that its source gives it, and whether its label can be trusted."""

    language: str
    label: Granularity
    source: str
    id: str
    text: str
    in_test: bool
    set_aside: bool


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
JOINED = "joined"


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
_FINAL_MARK = re.compile(r"""[.!?…;。！？।॥|؟۔።։]["'»«”“’)」』）\s]*$""")
# English after a semicolon is no sentence end; the class is for Greek, whose question mark it is.


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


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def is_test(source: Source, group: str) -> bool:
    """Half of every training corpus by a hash of its groups, and the whole of every test corpus."""
    return source.file.startswith("eval/") or _hash(group) % 2 == 0


def load(data: Path, languages: Sequence[str]) -> list[Row]:
    """Every labelled row in `languages`; no text of the training part is in the test part too."""
    rows: list[Row] = []
    for source in SOURCES:
        for id, group, texts in versions_of(source, data):
            in_test, aside = is_test(source, group), contradicted(source, texts)
            rows += [
                Row(language, source.label, source.name, id, texts[language], in_test, aside)
                for language in languages
                if texts.get(language, "").strip()
            ]
    tuned_on = {(row.language, row.text) for row in rows if not row.in_test}
    return [row for row in rows if not row.in_test or (row.language, row.text) not in tuned_on]


def pick(rows: Iterable[Row], count: int) -> list[Row]:
    """Up to `count` rows of one class and language, in turn from each source, in hash order."""
    by_source: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_source[row.source].append(row)
    for queue in by_source.values():
        queue.sort(key=lambda row: _hash(row.id), reverse=True)
    picked: list[Row] = []
    while len(picked) < count and any(by_source.values()):
        for queue in by_source.values():
            if queue and len(picked) < count:
                picked.append(queue.pop())
    return picked


def join_sentences(rows: Iterable[Row], language: str, count: int) -> list[Row]:
    """Paragraphs of two to four Tatoeba sentences of one language and part, set as it sets them."""
    sentences = [row for row in rows if row.source.startswith("tatoeba") and not row.set_aside]
    sentences.sort(key=lambda row: _hash(row.id))
    chooser = random.Random(language)
    separator = "" if language in UNSPACED_JOIN else " "
    joined: list[Row] = []
    while len(joined) < count and len(sentences) >= 4:
        parts = chooser.sample(sentences, chooser.randint(2, 4))
        text = separator.join(part.text for part in parts)
        id = "+".join(part.id for part in parts)
        joined.append(Row(language, PARAGRAPH, JOINED, id, text, parts[0].in_test, False))
    return joined


def select(
    rows: Sequence[Row], in_test: bool, trusted_only: bool, count: int = ROWS_PER_CLASS
) -> list[Row]:
    """The measured rows of one part: as many of each class, in turn from each source."""
    cells: dict[tuple[str, Granularity], list[Row]] = defaultdict(list)
    for row in rows:
        if row.in_test == in_test and not (trusted_only and row.set_aside):
            cells[row.language, row.label].append(row)
    picked: list[Row] = []
    for language in dict.fromkeys(language for language, _ in cells):
        sentences = cells[language, SENTENCE]
        cells[language, PARAGRAPH] += join_sentences(sentences, language, count)
        for label in TEXT_GRANULARITIES:
            picked += pick(cells[language, label], count)
    return picked


# --- fitting --------------------------------------------------------------------------------------

FIT_ROWS_PER_CLASS = 2500


def logistic_regression(
    shown: Sequence[Iterable[str]], positive: Sequence[bool], weight: Sequence[float]
) -> dict[str, float]:
    """Weights of named binary features and a "bias", by Newton's method with an L2 penalty of 1."""
    names = ["bias", *sorted({name for row in shown for name in row})]
    column = {name: index for index, name in enumerate(names)}
    x = np.zeros((len(shown), len(names)))
    x[:, 0] = 1.0
    for index, row in enumerate(shown):
        x[index, [column[name] for name in row]] = 1.0
    y, w = np.asarray(positive, float), np.asarray(weight, float)
    beta = np.zeros(len(names))
    for _ in range(30):
        p = 1.0 / (1.0 + np.exp(-x @ beta))
        gradient = x.T @ (w * (y - p)) - beta
        hessian = (x * (w * p * (1.0 - p))[:, None]).T @ x + np.eye(len(names))
        beta += np.linalg.solve(hessian, gradient)
    return {name: round(float(value), 2) for name, value in zip(names, beta, strict=True)}


# A text without a final mark is a phrase more often than a sentence that lost its mark, except
# where sentences have none.
PHRASES_PER_SENTENCE = 3.0


def _even_weights(rows: Sequence[Row], phrases_per_sentence: float = 1.0) -> list[float]:
    """A weight per row that lets the classes of every language count in the ratio given."""
    counts = Counter((row.language, row.label) for row in rows)
    ratio = {PHRASE: phrases_per_sentence}
    return [1000.0 * ratio.get(row.label, 1.0) / counts[row.language, row.label] for row in rows]


def fit_weights(rows: Sequence[Row]) -> str:
    """The tables of the router's weights, as Python, fitted on `rows`."""
    by_script: dict[Script, list[Row]] = defaultdict(list)
    for row in without_final_mark(rows):
        by_script[script_of(row.text)].append(row)
    lines = ["SENTENCE_WEIGHTS: dict[Script, dict[str, float]] = {"]
    for script in Script:
        fitted_on = by_script[script]
        weights = logistic_regression(
            [sentence_features(row.text, script) for row in fitted_on],
            [row.label is SENTENCE for row in fitted_on],
            _even_weights(fitted_on, 1.0 if script is Script.SOUTHEAST else PHRASES_PER_SENTENCE),
        )
        lines.append(f"    Script.{script.name}: {weights!r},")
    thai = [row for row in rows if row.language == "th" and row.label is not PHRASE]
    several = logistic_regression(
        [several_features(row.text) for row in thai],
        [row.label is PARAGRAPH for row in thai],
        _even_weights(thai),
    )
    return "\n".join([*lines, "}", f"SEVERAL_WEIGHTS: dict[str, float] = {several!r}"])


# --- measuring ------------------------------------------------------------------------------------

Confusion = Counter[tuple[Granularity, Granularity]]


def confuse(rows: Iterable[Row]) -> Confusion:
    """How many rows of each true class were routed to each class."""
    return Counter((row.label, route(row.text)) for row in rows)


def recall(confusion: Confusion, label: Granularity) -> float:
    """The share of the rows of class `label` that were routed to it; nan where there is none."""
    total = sum(count for (true, _), count in confusion.items() if true == label)
    return confusion[label, label] / total if total else math.nan


def macro_recall(confusion: Confusion) -> float:
    """The mean of the recalls of the classes that have rows."""
    recalls = [recall(confusion, label) for label in TEXT_GRANULARITIES]
    return statistics.fmean(value for value in recalls if not math.isnan(value))


def by_language(rows: Iterable[Row]) -> dict[str, Confusion]:
    """A confusion table per language."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.language].append(row)
    return {language: confuse(group) for language, group in groups.items()}


def macro_average(rows: Iterable[Row]) -> float:
    """The mean over languages of the mean over classes of recall."""
    return statistics.fmean(macro_recall(table) for table in by_language(rows).values())


def print_languages(rows: Sequence[Row]) -> None:
    tables = by_language(rows)
    click.echo("language    rows (phr/sent/par)   recall %: phrase  sentence  paragraph     mean")
    for language, table in tables.items():
        counts = [
            sum(table[true, got] for got in TEXT_GRANULARITIES) for true in TEXT_GRANULARITIES
        ]
        recalls = [f"{100 * recall(table, label):9.1f}" for label in TEXT_GRANULARITIES]
        sizes = "/".join(map(str, counts))
        click.echo(
            f"{language:8} {sizes:>22} {'':9} {' '.join(recalls)} {100 * macro_recall(table):9.1f}"
        )
    click.echo(f"{'macro':8} {len(rows):>22} {'':39} {100 * macro_average(rows):9.2f}")


def print_confusion(rows: Sequence[Row]) -> None:
    table = confuse(rows)
    click.echo("true \\ routed  " + "".join(f"{label:>11}" for label in TEXT_GRANULARITIES))
    for true in TEXT_GRANULARITIES:
        click.echo(f"{true:15}" + "".join(f"{table[true, got]:11}" for got in TEXT_GRANULARITIES))


def print_sources(rows: Sequence[Row]) -> None:
    groups: dict[tuple[Granularity, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.label, row.source].append(row)
    for (label, source), group in groups.items():
        share = 100 * recall(confuse(group), label)
        click.echo(f"{label:10} {source:20} {len(group):6} rows {share:6.1f} %")


def print_errors(rows: Sequence[Row], count: int) -> None:
    wrong: dict[tuple[str, Granularity, Granularity], list[Row]] = defaultdict(list)
    for row in rows:
        if (routed := route(row.text)) != row.label:
            wrong[row.language, row.label, routed].append(row)
    for (language, label, routed), group in wrong.items():
        click.echo(f"\n{language}: {len(group)} {label} routed to {routed}")
        for row in group[:count]:
            click.echo(f"  {row.source:16} {row.text[:160]}")


_UNMARK = re.compile(r"""[\s.!?…;:。！？।॥|؟۔።։"'»«”“’)」』）]+$""")


def without_final_mark(rows: Iterable[Row]) -> list[Row]:
    """Phrases as they are, and sentences with their final mark taken off."""
    bare = []
    for row in rows:
        if row.label is SENTENCE and (text := _UNMARK.sub("", row.text)):
            bare.append(Row(row.language, SENTENCE, row.source, row.id, text, row.in_test, False))
        elif row.label is PHRASE:
            bare.append(row)
    return bare


def time_per_text(texts: Sequence[str], repeats: int = 15) -> tuple[float, float, float]:
    """Microseconds per text over whole passes: the median, the quickest and the slowest pass."""
    passes = []
    for _ in range(repeats):
        start = time.perf_counter()
        for text in texts:
            route(text)
        passes.append((time.perf_counter() - start) / len(texts) * 1e6)
    return statistics.median(passes), min(passes), max(passes)


def print_times(rows: Sequence[Row]) -> None:
    kinds = {
        "phrases of five words": [
            row.text for row in rows if row.label is PHRASE and len(row.text.split()) == 5
        ],
        "all phrases": [row.text for row in rows if row.label is PHRASE],
        "sentences": [row.text for row in rows if row.label is SENTENCE],
        "paragraphs": [row.text for row in rows if row.label is PARAGRAPH],
    }
    for kind, texts in kinds.items():
        texts = texts[:2000] if kind == "phrases of five words" else texts[::6]
        median, quickest, slowest = time_per_text(texts)
        length = statistics.median(len(text) for text in texts)
        click.echo(
            f"{kind:24} {len(texts):5} texts, median {length:4.0f} characters: "
            f"{median:5.1f} µs per text (15 passes: {quickest:.1f} to {slowest:.1f})"
        )


@click.command()
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="The corpora's folder."
)
@click.option("--languages", default=LANGUAGES, show_default=True)
@click.option("--part", type=click.Choice(["test", "training"]), default="test", show_default=True)
@click.option("--errors", default=0, help="Print so many wrong rows per language and confusion.")
@click.option("--fit", is_flag=True, help="Print weights fitted on the training part, and stop.")
def main(data: Path, languages: str, part: str, errors: int, fit: bool) -> None:
    """Measure the granularity router on the corpora."""
    if missing := [source.file for source in SOURCES if not (data / source.file).is_file()]:
        raise click.ClickException(
            f"{data} does not hold {missing[0]}"
            + (f" and {len(missing) - 1} more files" if len(missing) > 1 else "")
            + "; give the corpora's folder (with train/ and eval/ in it) as --data"
        )
    rows = load(data, languages.split())
    if fit:
        click.echo(fit_weights(select(rows, False, True, FIT_ROWS_PER_CLASS)))
        return
    in_test = part == "test"
    trusted = select(rows, in_test, trusted_only=True)
    every = select(rows, in_test, trusted_only=False)
    click.echo(
        f"part: {part} (a hash of the id splits each training corpus in two; every test corpus"
    )
    click.echo("is test; translations of one id lie in one part; no text lies in both)\n")
    print_languages(trusted)
    click.echo("")
    print_confusion(trusted)
    click.echo("\nby source")
    print_sources(trusted)
    pool = [row for row in rows if row.in_test == in_test]
    click.echo("\nset aside because most versions of the row contradict its source's class")
    for source in SOURCES:
        of_source = [row for row in pool if row.source == source.name]
        if aside := sum(row.set_aside for row in of_source):
            click.echo(f"  {source.label:10} {source.name:20} {aside:7} of {len(of_source):7} rows")
    click.echo(f"with them left in, macro average: {100 * macro_average(every):.2f} %")
    bare = without_final_mark(trusted)
    click.echo("\nphrases, and sentences with their final mark taken off (a harder question)")
    print_languages(bare)
    click.echo("\ntime")
    print_times(trusted)
    if errors:
        print_errors(trusted, errors)


if __name__ == "__main__":
    main()
