"""What stands in the folders that pages are typed in, each thing small and made once."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from models.bundle import DEFAULT_BUNDLE
from service.demo import passages
from tests.running_service import running_service
from tests.signal_stack import no_signal_stack_is_left
from tests.tiny_training import (
    LANGUAGES,
    PAIRS_HEADER,
    made_pairs,
    sentence,
    translations,
    write_xz,
)
from tests.training.ablation.conftest import PLAN
from tests.training.evaluation.eval_sets import write_all, write_tatoeba
from training.corpora.build import BuildOptions, build
from training.dictionary import WORD_LISTS
from training.evaluation.command import Choice, Outputs, Source
from training.evaluation.command import run as evaluate
from training.export import Identity, export, parity_sample
from training.recipe import Recipe
from training.trainer import Corpus, train

__all__ = ["no_signal_stack_is_left"]

_QUOTED = ", ".join(f'"{language}"' for language in LANGUAGES)
_RECIPE = """
backbone = "{backbone}"
half_weights = true
reduction_factor = 4
languages = [{languages}]
[validation]
pairs = 35
every_steps = 2
"""
_ADAPTER = """
[adapters.{name}]
granularity = "{name}"
max_tokens = 48
steps = 2
batch_pairs = 16
learning_rate = 0.02
temperature = 0.05
"""
_BACKBONE_RECIPE = """
teacher = "{teacher}"
teacher_max_tokens = 24
languages = ["en", {languages}]
max_tokens = 24
vocabulary = {{ size = 300, characters = 4000 }}
[static]
steps = 4
batch_pairs = 24
warmup_steps = 2
validation_pairs = 2
validation_every = 2
[context]
steps = 2
batch_pairs = 16
warmup_steps = 1
validation_pairs = 2
validation_every = 2
layers = 1
heads = 2
feed_forward = 32
chunk_tokens = 64
max_tokens = 24
precision = "float32"
"""


@pytest.fixture(scope="package")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of a service on the shipped bundle, for all pages."""
    with running_service(tmp_path_factory.mktemp("service")) as url:
        yield url.removeprefix("http://")


@pytest.fixture(scope="package")
def things(
    bert_folder: Path, made_student_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Path]:
    """Files and folders that pages suppose, by what they are."""
    folder = tmp_path_factory.mktemp("things")
    found = {
        "encoder": made_student_folder,
        "shipped bundle": DEFAULT_BUNDLE,
        "training data": _training_data(folder / "train"),
        "more training data": _more_training_data(folder / "verse"),
        "test sets": _test_sets(folder / "eval"),
        "recipe": _recipe(folder / "recipe.toml", made_student_folder),
        "recipe of a backbone": folder / "backbone.toml",
        "plan": folder / "plan.toml",
        "card": folder / "card.md",
        "words": folder / "words.tsv",
        "table": folder / "corpus.parquet",
        "run": folder / "run",
        "bundle": folder / "bundle",
        "scores": folder / "scores.json",
        **_texts(folder),
    }
    backbone = _BACKBONE_RECIPE.format(teacher=bert_folder, languages=_QUOTED)
    found["recipe of a backbone"].write_text(backbone)
    found["plan"].write_text(PLAN)
    found["card"].write_text("# $version\n")
    found["words"].write_text("lang_a\tlang_b\tword_a\tword_b\nen\tde\thouse\tHaus\n")
    inputs = (found["training data"], found["more training data"])
    build(inputs, found["table"], BuildOptions(found["test sets"]))
    train(Recipe.read(found["recipe"]), Corpus(found["table"], found["test sets"]), found["run"])
    sample = parity_sample(found["run"], found["table"])
    export(found["run"], found["bundle"], Identity("tiny", "0.1.0", found["card"]), sample)
    evaluate(
        Source(found["bundle"], None, None),
        found["test sets"],
        Choice("tatoeba", "routed", None, None),
        Outputs(found["scores"], None, None),
        threads=1,
        say=_nothing,
        note=_nothing,
    )
    return found


def _nothing(text: str) -> None:
    """For those who would print."""


def _training_data(folder: Path) -> Path:
    """The tiny corpus, and its words one by one; all under names of sources whose licences are
    known, the words under those that dictionaries are made of."""
    words = [
        (WORD_LISTS[place % len(WORD_LISTS)], "phrase", f"{place}", "en", language, english, word)
        for place, ((_, english), *others) in enumerate(translations())
        for language, word in others
    ]
    write_xz(folder / "made.pairs.tsv.xz", [PAIRS_HEADER, *made_pairs("tatoeba"), *words])
    return folder


def _more_training_data(folder: Path) -> Path:
    rows = [
        (
            *("bible", "sentence", f"verse.{number}", "en", language),
            *(f"{sentence(each, number, 9)} {number}" for each in ("en", language)),
        )
        for language in LANGUAGES
        for number in range(60)
    ]
    write_xz(folder / "bible.pairs.tsv.xz", [PAIRS_HEADER, *rows])
    return folder


def _test_sets(folder: Path) -> Path:
    """Every test set of the suite; of Tatoeba, languages that pages name."""
    write_all(folder)
    codes = {"de": "deu", "fr": "fra", "ja": "jpn"}
    write_tatoeba(
        folder,
        [
            (code, sentence("en", number, 4), sentence(language, number, 4))
            for language, code in codes.items()
            for number in range(20)
        ],
    )
    return folder


def _recipe(file: Path, backbone: Path) -> Path:
    text = _RECIPE.format(backbone=backbone, languages=_QUOTED)
    for name in ("phrase", "sentence", "paragraph"):
        text += _ADAPTER.format(name=name)
    file.write_text(text, encoding="utf-8")
    return file


def _texts(folder: Path) -> dict[str, Path]:
    """The passages of `polygrain demo` in some languages, one a line, and as a table for jobs."""
    found = {}
    for language in ("en", "de", "fr", "sw"):
        lines = [each["text"] + "\n" for each in passages() if each["language"] == language]
        found[f"lines in {language}"] = folder / f"{language}.txt"
        found[f"lines in {language}"].write_text("".join(lines), encoding="utf-8")
    table = "id\ttext\na1\tDie Bibliothek öffnet um neun Uhr.\na2\tReykjavík\n"
    for language, text in (("one line in en", "It rained."), ("one line in th", "ฝนตก")):
        found[language] = folder / f"{language}.txt"
        found[language].write_text(text + "\n", encoding="utf-8")
    found["articles"] = folder / "articles.tsv"
    found["articles"].write_text(table, encoding="utf-8")
    for name in ("articles", "lines in fr"):
        found[f"{name}, compressed"] = folder / f"{found[name].name}.gz"
        found[f"{name}, compressed"].write_bytes(gzip.compress(found[name].read_bytes()))
    return found
