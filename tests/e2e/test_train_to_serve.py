"""The two walks joined: adapters trained here, exported, served, and held against torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.encoding.encoder import Encoder
from service.settings import Settings
from tests.tiny_training import LANGUAGES, sentence
from training import adapters, export
from training.backbone import Backbone
from training.export import Identity, parity_sample
from training.parity import encode_alone
from training.recipe import Recipe
from training.trainer import Corpus, train

GRANULARITIES = ("phrase", "sentence", "paragraph")


@pytest.fixture(scope="module")
def recipe(bert_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    languages = ", ".join(f'"{language}"' for language in LANGUAGES)
    text = f'backbone = "{bert_folder}"\nreduction_factor = 4\nlanguages = [{languages}]\n'
    for granularity in GRANULARITIES:
        text += f'[adapters.{granularity}]\ngranularity = "{granularity}"\nsteps = 12\n'
        text += "max_tokens = 60\nbatch_pairs = 16\nlearning_rate = 0.05\n"
    file = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    file.write_text(text)
    return Recipe.read(file)


@pytest.fixture(scope="module")
def run(recipe: Recipe, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("end-to-end") / "run"
    train(recipe, corpus, folder)
    return folder


@pytest.fixture(scope="module")
def client(run: Path, corpus_folder: Path) -> Iterator[TestClient]:
    (run / "card.md").write_text("# $version")
    identity = Identity("tiny", "0.1.0", run / "card.md")
    export.export(run, run.parent / "bundle", identity, parity_sample(run, corpus_folder))
    app = create_app(Settings(), Encoder.open(run.parent / "bundle", threads=1))
    with TestClient(app) as client:
        yield client


def _texts() -> list[str]:
    """100 texts of mixed language and length, none too long for its adapter."""
    lengths = (1, 2, 4, 7, 9)
    return [
        sentence(LANGUAGES[number % 10], number, lengths[number % 5]) + "." * (number % 3 == 1)
        for number in range(100)
    ]


def test_a_mixed_request_gives_each_text_the_vector_that_it_has_alone_in_torch(
    client: TestClient, recipe: Recipe, run: Path
) -> None:
    texts = _texts()
    granularities = [GRANULARITIES[number % 3] for number in range(100)]
    body = {"inputs": texts, "granularity": granularities, "long_text": "error"}
    answer = client.post("/embed", json=body)
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    reference = export.trained(recipe, run)
    for text, granularity, item in zip(texts, granularities, data, strict=True):
        assert item["adapter"] == granularity
        served = np.array(item["embedding"])
        np.testing.assert_allclose(served, _by_torch(reference, granularity, text), atol=1e-5)
        alone = client.post("/embed", json={"inputs": text, "granularity": granularity})
        cosine = served @ np.array(alone.json()["data"][0]["embedding"])
        assert cosine >= 0.9999


def _by_torch(reference: Backbone, adapter: str, text: str) -> np.ndarray:
    adapters.select(reference.model, adapter)
    (row,) = reference.tokenize([text], 60)
    vector, _ = encode_alone(reference, row)
    return vector
