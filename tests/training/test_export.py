from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto

from models.bundle import Bundle, Granularity, TokenLayer
from training import adapters, export
from training.corpora.sampling import stream_pairs
from training.corpora.tsv import PAIRS_COLUMNS, Pair
from training.errors import TrainingError
from training.evaluation.embedder import Embedder
from training.export import Identity, parity_sample
from training.parity import encode_alone
from training.recipe import Recipe
from training.token_layer import LayerWish
from training.trainer import Corpus, train

CARD = "# Tiny $version\n\n$scores\n\n$pairs\n\nParity $parity, costs $$0.\n"


@pytest.fixture(scope="module", params=["bert", "xlmr", "bert-half", "student-half"])
def run(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    corpus: Corpus,
) -> Path:
    """A finished run of three adapters, on each family and on a half-stored backbone."""
    family, _, half = request.param.partition("-")
    folder = tmp_path_factory.mktemp(request.param)
    recipe = f"""
backbone = "{request.getfixturevalue(f"{family}_folder")}"
half_weights = {"true" if half else "false"}
reduction_factor = 4
languages = ["de", "fr", "ja", "th", "ru", "ar", "hi", "ko", "zh", "tr"]
"""
    for granularity in ("phrase", "sentence", "paragraph"):
        recipe += f"""
[adapters.{granularity}]
granularity = "{granularity}"
max_tokens = 48
steps = 12
batch_pairs = 16
learning_rate = 0.05
"""
    (folder / "recipe.toml").write_text(recipe)
    train(Recipe.read(folder / "recipe.toml"), corpus, folder / "run")
    return folder / "run"


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    (tmp_path / "card.md").write_text(CARD)
    return Identity("tiny", "0.1.0", tmp_path / "card.md")


def test_a_run_becomes_a_bundle_that_agrees_with_torch(
    run: Path, corpus_folder: Path, identity: Identity, tmp_path: Path
) -> None:
    error = export.export(run, tmp_path / "b", identity, parity_sample(run, corpus_folder))
    assert error <= 1e-5
    bundle = Bundle.open(tmp_path / "b")
    manifest = bundle.manifest
    assert [each.name for each in manifest.adapters] == ["phrase", "sentence", "paragraph"]
    assert manifest.routing == {
        Granularity(name): name for name in ("phrase", "sentence", "paragraph")
    }
    assert (manifest.dimension, manifest.languages[:2]) == (32, ("en", "de"))
    assert manifest.comparable == ()
    assert manifest.provenance["parity_max_abs_error"] == error
    card = bundle.file("MODEL_CARD.md").read_text()
    assert card.startswith("# Tiny 0.1.0\n\nNot measured yet.\n")
    assert "| phrase | 600 | " in card
    assert card.endswith("costs $0.\n")
    kinds = {tensor.data_type for tensor in onnx.load(str(bundle.graph())).graph.initializer}
    assert (TensorProto.FLOAT16 in kinds) == json.loads((run / "run.json").read_text())["recipe"][
        "half_weights"
    ]


def test_embeddings_are_unit_rows_and_tokens_pool_to_them(
    run: Path, corpus_folder: Path, identity: Identity, tmp_path: Path
) -> None:
    export.export(run, tmp_path / "b", identity, parity_sample(run, corpus_folder))
    session = onnxruntime.InferenceSession(
        str(Bundle.open(tmp_path / "b").graph()), providers=["CPUExecutionProvider"]
    )
    mask = np.array([[1, 1, 1, 0], [1, 1, 1, 1]])
    feed = {
        "input_ids": np.full((2, 4), 5),
        "attention_mask": mask,
        "adapter_ids": np.array([0, 2]),
    }
    embedding, tokens = session.run(["embedding", "tokens"], feed)
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, atol=1e-6)
    for row in range(2):
        mean = tokens[row, mask[row] == 1].mean(axis=0)
        np.testing.assert_allclose(embedding[row], mean / np.linalg.norm(mean), atol=1e-5)


def test_the_last_layer_s_states_are_the_tokens_unless_another_is_asked_for(
    run: Path, corpus_folder: Path, identity: Identity, tmp_path: Path
) -> None:
    sample = parity_sample(run, corpus_folder)
    export.export(run, tmp_path / "last", identity, sample)
    export.export(run, tmp_path / "inner", identity, sample, LayerWish(1))
    bundles = [Bundle.open(tmp_path / name) for name in ("last", "inner")]
    assert [bundle.manifest.token_layer for bundle in bundles] == [
        TokenLayer(layer=2, layers=2, measured=None),
        TokenLayer(layer=1, layers=2, measured=None),
    ]
    recipe = Recipe.model_validate(json.loads((run / "run.json").read_text())["recipe"])
    reference = export.trained(recipe, run)
    text = "rot grün maison 7"
    for row, name in enumerate(recipe.served):
        adapters.select(reference.model, name)
        ids, mask = reference.pad(reference.tokenize([text], 48))
        with torch.no_grad():
            states = reference.model(
                input_ids=ids, attention_mask=mask, output_hidden_states=True
            ).hidden_states
        assert len(states) == 3
        vectors = []
        for bundle, expected in zip(bundles, (states[2], states[1]), strict=True):
            session = onnxruntime.InferenceSession(
                str(bundle.graph()), providers=["CPUExecutionProvider"]
            )
            # Beside a longer text of another adapter, which must not show.
            feed = {
                "input_ids": np.pad(np.repeat(ids.numpy(), 2, 0), ((0, 0), (0, 3))),
                "attention_mask": np.pad(mask.numpy(), ((0, 1), (0, 3))),
                "adapter_ids": np.array([row, (row + 1) % 3]),
            }
            feed["attention_mask"][1] = 1
            embedding, tokens = session.run(["embedding", "tokens"], feed)
            vectors.append(embedding[0])
            np.testing.assert_allclose(tokens[0, : ids.shape[1]], expected[0].numpy(), atol=2e-5)
        assert np.abs((states[2] - states[1]).numpy()).max() > 1e-2
        # A text's vector is the last layer's all the same.
        np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)


def test_states_of_another_layer_than_asked_for_fail_the_export(
    run: Path,
    corpus_folder: Path,
    identity: Identity,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def of_the_last(
        self: export.StackedEncoder, model: torch.nn.Module, selection: adapters.Selection, _: int
    ) -> None:
        honest(self, model, selection)

    honest = export.StackedEncoder.__init__
    monkeypatch.setattr(export.StackedEncoder, "__init__", of_the_last)
    sample = parity_sample(run, corpus_folder)
    with pytest.raises(TrainingError, match="off by"):
        export.export(run, tmp_path / "b", identity, sample, LayerWish(1))
    assert not (tmp_path / "b").exists()


def test_the_plain_backbone_of_a_bundle_has_the_layer_too(
    run: Path, corpus_folder: Path, identity: Identity, tmp_path: Path
) -> None:
    export.export(run, tmp_path / "b", identity, parity_sample(run, corpus_folder), LayerWish(1))
    embedder = Embedder.open(tmp_path / "b", threads=1)
    recipe = Recipe.model_validate(json.loads((run / "run.json").read_text())["recipe"])
    reference = export.trained(recipe, run)
    sentence = ["red", "house", "7"]
    adapters.select(reference.model, None)
    reference.tokenizer.no_truncation()
    encoding = reference.tokenizer.encode(sentence, is_pretokenized=True)
    states = encode_alone(reference, encoding.ids, 1)[1]
    for word, vector in enumerate(embedder.embed_words([sentence], None)[0]):
        own = [state for state, of in zip(states, encoding.word_ids, strict=True) if of == word]
        np.testing.assert_allclose(vector, np.mean(own, axis=0), atol=2e-5)


@pytest.mark.parametrize("number", [0, 3])
def test_a_layer_that_the_encoder_has_not_is_refused(
    run: Path, identity: Identity, tmp_path: Path, number: int
) -> None:
    with pytest.raises(TrainingError, match=f"is {number}; the encoder has 2 layers: use 1 to 2"):
        export.export(run, tmp_path / "b", identity, {}, LayerWish(number))


def test_adapters_are_comparable_where_the_scores_say_so(
    run: Path, corpus_folder: Path, identity: Identity, tmp_path: Path
) -> None:
    def scored(value: float) -> dict[str, object]:
        return {"means": {"all": {"main": value}}, "by_language": {}, "by_pair": {}}

    task = {
        "title": "t",
        "about": "a",
        "granularities": ["phrase", "paragraph"],
        "texts": 1,
        "figures": {"main": {"label": "m", "lower_is_better": False}},
        "systems": {"routed": scored(2.0)},
        "mixed": {"phrase+paragraph": scored(2.0), "phrase+phrase": scored(1.0)},
    }
    evaluation = {
        "format_version": 1,
        "model": {"name": "m", "version": "1.0.0", "dimension": 32, "read_from": "bundle"},
        "measured_at": "2026-11-20T00:00:00Z",
        "tasks": {"phrase-to-paragraph": task},
        "skipped": {},
    }
    scores = {"by_language": {"routed": {"t": {"de": 2.0}}}, "evaluation": evaluation}
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    told = Identity(
        identity.name, identity.version, identity.card_template, tmp_path / "scores.json"
    )
    export.export(run, tmp_path / "b", told, parity_sample(run, corpus_folder))
    assert Bundle.open(tmp_path / "b").manifest.comparable == (("phrase", "paragraph"),)


def test_the_bundle_says_to_which_dimensions_vectors_may_be_cut(
    run: Path, corpus_folder: Path, identity: Identity, tmp_path: Path
) -> None:
    sample = parity_sample(run, corpus_folder)
    cut = replace(identity, dimensions=(8, 16))
    export.export(run, tmp_path / "b", cut, sample)
    assert Bundle.open(tmp_path / "b").manifest.dimensions == (8, 16, 32)
    with pytest.raises(TrainingError, match="not all below the 32"):
        export.export(run, tmp_path / "c", replace(identity, dimensions=(8, 32)), sample)


def test_swapped_adapters_fail_the_export_and_write_nothing(
    run: Path,
    corpus_folder: Path,
    identity: Identity,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = adapters.stack
    monkeypatch.setattr(adapters, "stack", lambda model, names: honest(model, names[::-1]))
    with pytest.raises(TrainingError, match=r"off by .* at most 1e-05"):
        export.export(run, tmp_path / "b", identity, parity_sample(run, corpus_folder))
    assert not (tmp_path / "b").exists()


def test_a_pooling_that_counts_padding_fails_the_export(
    run: Path,
    corpus_folder: Path,
    identity: Identity,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def over_padding(
        self: export.StackedEncoder, ids: torch.Tensor, mask: torch.Tensor, rows: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self._selection.ids = rows
        tokens = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        return torch.nn.functional.normalize(tokens.mean(1), dim=-1), tokens

    monkeypatch.setattr(export.StackedEncoder, "forward", over_padding)
    monkeypatch.setattr(onnx.checker, "check_model", lambda *args, **kwargs: None)
    with pytest.raises(TrainingError, match="off by"):
        export.export(run, tmp_path / "b", identity, parity_sample(run, corpus_folder))


def test_token_states_that_differ_fail_the_export(
    run: Path,
    corpus_folder: Path,
    identity: Identity,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = export.StackedEncoder.forward

    def slightly_off(
        self: export.StackedEncoder, ids: torch.Tensor, mask: torch.Tensor, rows: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        embedding, tokens = honest(self, ids, mask, rows)
        return embedding, tokens * (1 + 1e-3 * rows[:, None, None])

    monkeypatch.setattr(export.StackedEncoder, "forward", slightly_off)
    with pytest.raises(TrainingError, match="off by"):
        export.export(run, tmp_path / "b", identity, parity_sample(run, corpus_folder))
    assert not (tmp_path / "b").exists()


def test_the_evaluator_sees_each_adapter_and_the_plain_backbone(
    run: Path, corpus_folder: Path, identity: Identity, tmp_path: Path
) -> None:
    export.export(run, tmp_path / "b", identity, parity_sample(run, corpus_folder))
    embedder = Embedder.open(tmp_path / "b", threads=1)
    texts = ["rot grün", "maison", "赤い 緑 青い", "maison"]
    recipe = Recipe.model_validate(json.loads((run / "run.json").read_text())["recipe"])
    reference = export.trained(recipe, run)
    for name in (None, "phrase", "sentence", "paragraph"):
        adapters.select(reference.model, name)
        rows = reference.tokenize(texts, 48)
        expected = np.stack([encode_alone(reference, row)[0] for row in rows])
        np.testing.assert_allclose(embedder.embed(texts, name), expected, atol=1e-5)


def test_an_unfinished_run_is_not_exported(
    run: Path, corpus_folder: Path, identity: Identity, tmp_path: Path
) -> None:
    finished = run / "paragraph" / "adapter.safetensors"
    hidden = finished.with_suffix(".hidden")
    finished.rename(hidden)
    try:
        with pytest.raises(TrainingError, match="paragraph is not finished"):
            export.export(run, tmp_path / "b", identity, {})
    finally:
        hidden.rename(finished)


def test_a_run_is_not_exported_on_another_backbone(
    run: Path, corpus_folder: Path, identity: Identity, tmp_path: Path
) -> None:
    record = (run / "run.json").read_text()
    sha256 = json.loads(record)["backbone_sha256"]
    (run / "run.json").write_text(record.replace(sha256, "0" * 64))
    try:
        with pytest.raises(TrainingError, match="is not the backbone that"):
            export.export(run, tmp_path / "b", identity, {})
    finally:
        (run / "run.json").write_text(record)


def test_a_card_with_an_unknown_placeholder_is_refused(
    run: Path, corpus_folder: Path, identity: Identity, tmp_path: Path
) -> None:
    identity.card_template.write_text("$version $typo")
    with pytest.raises(TrainingError, match="bad placeholder 'typo'; use version"):
        export.export(run, tmp_path / "b", identity, parity_sample(run, corpus_folder))


def test_the_parity_sample_needs_enough_languages(run: Path, corpus_folder: Path) -> None:
    sample = parity_sample(run, corpus_folder, languages=10, total=200)
    assert [len(texts) for texts in sample.values()] == [20] * 10
    with pytest.raises(TrainingError, match="needs texts in 11 languages"):
        parity_sample(run, corpus_folder, languages=11)


def test_the_parity_sample_reads_no_more_than_it_needs(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    languages = ["de", "fr", "ja", "th", "ru", "ar", "hi", "ko", "zh", "tr"]
    granularities = ["phrase", "sentence", "paragraph"]
    rows = ["\t".join(PAIRS_COLUMNS)]
    for number in range(100):
        for language in languages if number < 1 else languages[:-1]:
            rows += [
                f"s\t{each}\t{each}-{number}\ten\t{language}\tone\t{each} {language} {'x' * number}"
                for each in granularities
            ]
    (tmp_path / "s.pairs.tsv").write_text("\n".join(rows) + "\n")
    read: list[Pair] = []

    def counted(*arguments: Any) -> Iterator[Pair]:  # noqa: ANN401
        for pair in stream_pairs(*arguments):
            read.append(pair)
            yield pair

    monkeypatch.setattr(export, "stream_pairs", counted)
    monkeypatch.setattr(export, "_CHOICE", 2)
    sample = parity_sample(run, tmp_path, languages=9, total=54)
    # Of each granularity and language twice the six that are chosen, and one more to know it.
    assert len(read) <= 3 * (13 * 9 + 1)
    assert list(sample) == languages[:9]
    texts = sample["th"]
    assert (texts[0], texts[-1]) == ("phrase th ", "paragraph th " + "x" * 11)
    assert {text.split()[0] for text in texts} == set(granularities)
    assert parity_sample(run, tmp_path, languages=9, total=54) == sample
    # Where one of the languages is rare, all that it has is looked for.
    read.clear()
    assert set(parity_sample(run, tmp_path, languages=10, total=60)["tr"]) == {
        f"{each} tr " for each in granularities
    }
    assert len(read) == 3 * (100 * 9 + 1)
