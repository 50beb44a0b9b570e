"""A plan of two arms over tiny test sets, and what runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.tiny_training import PAIRS_HEADER, sentence, write_xz
from training.ablation.runner import Place
from training.data import Corpus

PLAN = """
title = "Two temperatures"
seeds = [1, 2]

[inputs.backbone]
about = "hub name or folder of an encoder"

[recipe]
backbone = "$backbone"
reduction_factor = 4
languages = ["de", "fr"]

[recipe.adapters.sentence]
granularity = "sentence"
max_tokens = 32
steps = 5
batch_pairs = 8
learning_rate = 0.02

[measures.Tatoeba]
task = "tatoeba"
languages = ["de", "fr"]

[measures.xsim]
task = "xsim"
languages = ["de", "fr"]

[tables.tau]
title = "Temperature"
adapters = ["sentence"]

[tables.tau.arms.plain]
train = false
adapters = ["none"]

[tables.tau.arms.cold.recipe.adapters.sentence]
temperature = 0.02

[tables.tau.arms.warm.recipe.adapters.sentence]
temperature = 0.5

[[tables.tau.claims]]
says = "cold beats warm, warm beats plain"
source = "nobody"
on = ["Tatoeba"]
order = ["cold", "warm", "plain"]

[[tables.tau.published]]
source = "a paper"
columns = ["BUCC"]
rows = { cold = [70.8], warm = [nan] }
"""

PlanWriter = Callable[..., Path]


@pytest.fixture
def write_plan(tmp_path: Path) -> PlanWriter:
    """A function that writes the plan, with pieces of it replaced."""

    def write(*changes: tuple[str, str], name: str = "plan.toml") -> Path:
        text = PLAN
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new, 1)
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        return file

    return write


@pytest.fixture(scope="session")
def test_sets_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tatoeba in German and French, twenty pairs each."""
    folder = tmp_path_factory.mktemp("tiny-eval")
    rows: list[tuple[str, ...]] = [PAIRS_HEADER]
    for code, language in (("deu", "de"), ("fra", "fr")):
        for number in range(20):
            texts = (sentence(each, number, 4) for each in ("en", language))
            rows.append(("t", "sentence", f"{code}.{number}", "en", code, *texts))
    write_xz(folder / "tatoeba.pairs.tsv.xz", rows)
    return folder


@pytest.fixture
def place(tmp_path: Path, corpus_folder: Path, test_sets_folder: Path) -> Place:
    """A new folder, the tiny corpus and test sets, and the CPU."""
    return Place(tmp_path / "run", Corpus(corpus_folder, test_sets_folder), torch.device("cpu"))
