"""A recipe of every kind, a word adapter of given weights and an average: trained, exported,
opened by the evaluation and by the service."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models.bundle import Bundle, Granularity
from service.encoding.encoder import Encoder
from tests.tiny_training import LANGUAGES, sentence
from training import adapters, export
from training.adapters.kinds import Lora
from training.backbone import Backbone
from training.errors import TrainingError
from training.evaluation.embedder import Embedder
from training.evaluation.reading import systems
from training.export import Identity, parity_sample
from training.parity import encode_alone
from training.recipe import Recipe
from training.run import read_run
from training.trainer import Corpus, finished_adapter, train

KINDS = {
    "phrase": ("phrase", '{ name = "lora", rank = 2, projections = ["query", "output"] }'),
    "sentence": ("sentence", '"houlsby"'),
    "paragraph": ("paragraph", '"pfeiffer"'),
    "cheap": ("sentence", '{ name = "projection", reduction_factor = 1 }'),
    "phrase-too": ("phrase", '{ name = "lora", rank = 2, projections = ["query", "output"] }'),
    "word": ("word", '{ name = "lora", rank = 3 }'),
}
TEXTS = [sentence(LANGUAGES[number], number, 1 + number) for number in range(8)]


@pytest.fixture(scope="module")
def recipe(student_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    languages = ", ".join(f'"{language}"' for language in LANGUAGES)
    text = f'backbone = "{student_folder}"\nreduction_factor = 4\nlanguages = [{languages}]\n'
    text += 'precision = "bfloat16"\nhalf_weights = true\n'
    for name, (granularity, kind) in KINDS.items():
        text += f'[adapters.{name}]\ngranularity = "{granularity}"\nkind = {kind}\nsteps = 5\n'
        text += "max_tokens = 40\nbatch_pairs = 16\nlearning_rate = 0.05\ngradient_cache = true\n"
    text += '[averages.mean]\ngranularity = "phrase"\nmax_tokens = 30\n'
    text += 'of = ["phrase", "phrase-too"]\nshares = [0.75, 0.25]\n'
    file = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    file.write_text(text)
    return Recipe.read(file)


def _give_word(recipe: Recipe, run: Path) -> None:
    """Put the weights of a word adapter where a run keeps finished ones."""
    backbone = Backbone.open(recipe.backbone, recipe.half_weights)
    torch.manual_seed(9)
    adapters.attach_kinds(backbone.model, {"word": recipe.kind_of("word")})
    for parameter in adapters.select(backbone.model, "word"):
        nn.init.normal_(parameter, std=0.3)
    finished_adapter(run, "word").parent.mkdir()
    adapters.save(finished_adapter(run, "word"), adapters.weights(backbone.model, "word"))


@pytest.fixture(scope="module")
def run(recipe: Recipe, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kinds") / "run"
    with pytest.raises(
        TrainingError, match=r"adapter word: one of granularity word learns .*word/adapter\."
    ):
        train(recipe, corpus, folder)
    assert not (folder / "phrase").exists()
    _give_word(recipe, folder)
    train(recipe, corpus, folder)
    return folder


@pytest.fixture(scope="module")
def bundle(run: Path, corpus_folder: Path) -> Bundle:
    (run / "card.md").write_text("# $version")
    identity = Identity("tiny", "0.1.0", run / "card.md")
    error = export.export(run, run.parent / "b", identity, parity_sample(run, corpus_folder))
    assert error <= 1e-5
    return Bundle.open(run.parent / "b")


def test_the_bundle_holds_all_adapters_and_routes_no_text_to_words(bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert [each.name for each in manifest.adapters] == [*KINDS, "mean"]
    assert manifest.adapter("word").granularity is Granularity.WORD
    assert manifest.adapter("mean").max_tokens == 30
    assert manifest.routing == {each: each for each in ("phrase", "sentence", "paragraph")}


def test_every_adapter_learned_and_reads_as_in_torch(
    bundle: Bundle, run: Path, recipe: Recipe
) -> None:
    embedder = Embedder.open(bundle.path, threads=1)
    reference = export.trained(recipe, run)
    plain = embedder.embed(TEXTS, None)
    for name in (None, *recipe.served):
        adapters.select(reference.model, name)
        rows = reference.tokenize(TEXTS, 30)
        expected = np.stack([encode_alone(reference, row)[0] for row in rows])
        vectors = embedder.embed(TEXTS, name)
        np.testing.assert_allclose(vectors, expected, atol=1e-5)
        assert (np.abs(vectors - plain).max() > 1e-3) == (name is not None)


def test_words_are_read_through_the_word_adapter(bundle: Bundle, run: Path, recipe: Recipe) -> None:
    embedder = Embedder.open(bundle.path, threads=1)
    assert systems(embedder.model, None)["routed"][Granularity.WORD] == "word"
    words = TEXTS[5].split()
    (found,) = embedder.embed_words([words], "word")
    reference = export.trained(recipe, run)
    adapters.select(reference.model, "word")
    (row,) = reference.tokenize([TEXTS[5]], 40)
    _, states = encode_alone(reference, row)
    # [CLS], a token for each word, [SEP].
    np.testing.assert_allclose(found, states[1 : 1 + len(words)], rtol=1e-4, atol=1e-4)


def test_the_service_opens_it(bundle: Bundle) -> None:
    encoder = Encoder.open(bundle.path, threads=1)
    assert [each.name for each in encoder.manifest.adapters] == [*KINDS, "mean"]


def test_the_average_is_of_the_finished_adapters(run: Path, recipe: Recipe) -> None:
    members = [adapters.load(finished_adapter(run, name)) for name in ("phrase", "phrase-too")]
    mean = adapters.load(finished_adapter(run, "mean"))
    a, b = sorted(members[0])[:2]
    assert (a[-6:], b[-6:]) == ("lora_A", "lora_B")
    wanted = sum(
        share * each[b].numpy() @ each[a].numpy()
        for share, each in zip((0.75, 0.25), members, strict=True)
    )
    np.testing.assert_allclose(mean[b].numpy() @ mean[a].numpy(), wanted, atol=1e-6)
    kind = recipe.kinds["mean"]
    assert isinstance(kind, Lora)
    assert (kind.rank, kind.alpha) == (4, 16)
    assert read_run(run)["recipe"]["averages"]["mean"]["of"] == ["phrase", "phrase-too"]
