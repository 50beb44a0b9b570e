"""A bundle calibrated on what its training would have held out: made, measured, written, read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from models.bundle import Bundle, Granularity, write
from models.calibration import read_calibration
from tests.tiny_bundle import TOKEN_LAYER, WORDS, write_tiny_bundle
from tests.tiny_training import write_table
from training.calibration.candidates import SCORES
from training.calibration.unseen import Unseen
from training.cli import cli
from training.corpora.overlap import fingerprint
from training.corpora.rows import Row
from training.data import Corpus, Loader
from training.errors import TrainingError
from training.recipe import Recipe

ENTITIES = 500
GRANULARITIES = (("phrase", 2), ("sentence", 6), ("paragraph", 12))
RECIPE: dict[str, Any] = {
    "backbone": "none",
    "languages": ["fr", "de"],
    "validation": {"pairs": 70, "every_steps": 1},
    "adapters": {
        name: {
            "granularity": name,
            "max_tokens": 32,
            "steps": 1,
            "batch_pairs": 8,
            "learning_rate": 1e-3,
            "temperature": 0.05,
        }
        for name, _ in GRANULARITIES
    },
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Entities in three languages, which share a part of their words with their translations."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(ENTITIES):
        for granularity, count in GRANULARITIES:
            words = [*rng.choice(WORDS, count).tolist(), str(number)]
            for language, mark in (("en", "red"), ("fr", "le"), ("de", "hund")):
                text = " ".join([*words, granularity[:2], mark])
                rows.append(Row(str(number), "made", "CC0", granularity, language, text))
    return write_table(tmp_path_factory.mktemp("table") / "corpus.parquet", rows)


def _provenance(pairs: int = 2 * ENTITIES) -> dict[str, Any]:
    counts = dict.fromkeys(("fr", "de"), pairs // 2)
    return {"recipe": RECIPE, "pairs": {name: counts for name, _ in GRANULARITIES}}


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("parent")
    return write_tiny_bundle(folder / "tiny", provenance=_provenance(), token_layer=TOKEN_LAYER)


@pytest.fixture(scope="module")
def made(
    parent: Bundle,
    table: Path,
    evaluation_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Bundle, str, str]:
    """The calibrated bundle, what the command printed, and its report."""
    folder = tmp_path_factory.mktemp("made")
    report = folder / "report.html"
    command = ["--threads", "1", "calibrate", "--bundle", str(parent.path), "--corpus", str(table)]
    command += ["--evaluation", str(evaluation_folder), "--out", str(folder / "new")]
    command += ["--version", "0.2.0", "--report", str(report)]
    result = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return Bundle.open(folder / "new"), result.output, report.read_text(encoding="utf-8")


def test_the_new_bundle_differs_in_version_calibration_and_card_alone(
    parent: Bundle, made: tuple[Bundle, str, str]
) -> None:
    old, new = parent.manifest, made[0].manifest
    assert new.version == "0.2.0"
    changed = {"version", "calibration", "provenance", "files"}
    assert new.token_layer is not None
    assert old.model_dump(exclude=changed) == new.model_dump(exclude=changed)
    assert {name for name in old.files if old.files[name] != new.files[name]} == {"MODEL_CARD.md"}
    card = made[0].file("MODEL_CARD.md").read_text()
    assert card.startswith("# tiny\n")
    assert card.count("## Calibration\n") == 1
    assert new.provenance["recipe"] == old.provenance["recipe"]
    assert new.provenance["calibration"]["added_to"]["version"] == "0.1.0"


def test_every_granularity_and_score_has_a_curve(made: tuple[Bundle, str, str]) -> None:
    table = read_calibration(made[0].manifest)
    assert table is not None
    assert set(table.granularities) == {Granularity(name) for name, _ in GRANULARITIES}
    for own in table.granularities.values():
        assert set(own.curves) == set(SCORES)
        for curve in own.curves.values():
            assert set(curve.pairs) == {"de en", "en fr"}
        # Half of the 70 pairs that are held out are a language's own, and the others' English
        # texts are left out of it with them.
        assert own.texts == {"de": 70, "fr": 70}
    assert table.pool < 50


def test_the_report_plots_every_score(made: tuple[Bundle, str, str]) -> None:
    _, output, page = made
    assert page.count("<svg") == len(SCORES) * len(GRANULARITIES)
    assert sum(line.startswith("sentence ") for line in output.splitlines()) == len(SCORES)
    assert "://" not in page


def test_a_bundle_is_calibrated_again_with_one_line_in_its_card(
    made: tuple[Bundle, str, str], table: Path, evaluation_folder: Path, tmp_path: Path
) -> None:
    command = ["--threads", "1", "calibrate", "--bundle", str(made[0].path), "--corpus", str(table)]
    command += ["--evaluation", str(evaluation_folder), "--out", str(tmp_path / "again")]
    CliRunner().invoke(cli, [*command, "--version", "0.3.0"], catch_exceptions=False)
    again = Bundle.open(tmp_path / "again")
    assert again.file("MODEL_CARD.md").read_text().count("## Calibration\n") == 1
    assert again.manifest.calibration == made[0].manifest.calibration


def test_no_text_of_an_unseen_pair_is_in_what_training_draws_from(
    parent: Bundle, table: Path, evaluation_folder: Path
) -> None:
    corpus = Corpus(table, evaluation_folder)
    found = Unseen(parent.manifest, corpus).pairs("sentence", 1000)
    sampler: Any = Loader(Recipe.of(RECIPE, "test"), corpus).translations("sentence").sampler
    trained = {
        fingerprint(text)
        for pool in sampler.pairs.values()
        for pair in pool
        for text in (pair.english, pair.other)
    }
    assert len(trained) > 1000
    for pairs in found.pairs.values():
        # More than the 35 that were held out of each: what shares an English text with one in the
        # other language was left out of training with it.
        assert len(pairs) > 50
        texts = [fingerprint(text) for pair in pairs for text in (pair.english, pair.other)]
        assert trained.isdisjoint(texts)
        assert len(set(texts)) == len(texts)


def test_a_corpus_of_another_size_is_refused(
    table: Path, evaluation_folder: Path, tmp_path: Path
) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny", provenance=_provenance(2000))
    unseen = Unseen(bundle.manifest, Corpus(table, evaluation_folder))
    with pytest.raises(TrainingError, match="was trained on had 2000: give that corpus"):
        unseen.pairs("sentence", 10)


@pytest.mark.parametrize(
    ("provenance", "reason"),
    [
        ({}, "has no recipe"),
        ({**_provenance(), "recipe": {**RECIPE, "validation": None}}, "held nothing out"),
    ],
)
def test_a_bundle_that_does_not_tell_what_it_learned_from_is_refused(
    tiny_bundle: Bundle, tmp_path: Path, provenance: dict[str, Any], reason: str
) -> None:
    values = tiny_bundle.manifest.model_dump(mode="json", exclude={"format_version", "files"})
    files = {name: tiny_bundle.file(name) for name in tiny_bundle.manifest.files}
    bundle = write(tmp_path / "b", {**values, "provenance": provenance}, files)
    with pytest.raises(TrainingError, match=reason):
        Unseen(bundle.manifest, Corpus(tmp_path, tmp_path))
