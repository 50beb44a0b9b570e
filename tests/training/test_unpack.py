from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models.bundle import Bundle, write
from training import adapters
from training.backbone import Backbone
from training.errors import TrainingError
from training.export import Identity, export, parity_sample
from training.recipe import Recipe
from training.reuse import reusable
from training.run import read_run
from training.token_layer import LAST, LayerWish
from training.trainer import ADAPTER_FILE, Corpus, fingerprint, train
from training.unpack import BACKBONE_FOLDER, unpack, unpack_first_layers

_RECIPE = """
backbone = "{backbone}"
half_weights = true
reduction_factor = 4
languages = ["de", "fr", "ja", "th", "ru", "ar", "hi", "ko", "zh", "tr"]
[adapters.phrase]
granularity = "phrase"
max_tokens = 48
steps = 4
batch_pairs = 16
learning_rate = 0.05
[adapters.sentence]
granularity = "sentence"
kind = {{ name = "houlsby", reduction_factor = 8 }}
max_tokens = 48
steps = 4
batch_pairs = 16
learning_rate = 0.05
[adapters.paragraph]
granularity = "paragraph"
kind = "projection"
max_tokens = 48
steps = {steps}
batch_pairs = 16
learning_rate = 0.05
"""


@pytest.fixture(scope="module")
def run(
    made_student_folder: Path, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train(_recipe(folder, made_student_folder), corpus, folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def bundle(run: Path, corpus_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _exported(run, corpus_folder, tmp_path_factory.mktemp("bundle"))


def _recipe(folder: Path, backbone: Path, steps: int = 12) -> Recipe:
    (folder / "recipe.toml").write_text(_RECIPE.format(backbone=backbone, steps=steps))
    return Recipe.read(folder / "recipe.toml")


def _exported(run: Path, corpus_folder: Path, folder: Path, layer: LayerWish = LAST) -> Path:
    (folder / "card.md").write_text("# $version\n")
    identity = Identity("tiny", "0.1.0", folder / "card.md")
    export(run, folder / "b", identity, parity_sample(run, corpus_folder), layer)
    return folder / "b"


def test_what_comes_out_is_what_went_in_to_the_bit(
    run: Path, bundle: Path, made_student_folder: Path, tmp_path: Path
) -> None:
    recipe = unpack(bundle, tmp_path / "run")
    assert recipe.backbone == str(tmp_path / "run" / BACKBONE_FOLDER)
    old, new = (Backbone.open(str(each), True) for each in (made_student_folder, recipe.backbone))
    assert fingerprint(old) == fingerprint(new)
    text = "a small red house, 7"
    assert old.tokenize([text], 48) == new.tokenize([text], 48)
    for name in ("phrase", "sentence", "paragraph"):
        before, after = (
            adapters.load(each / name / ADAPTER_FILE) for each in (run, tmp_path / "run")
        )
        assert before.keys() == after.keys()
        for key, value in before.items():
            assert torch.equal(value, after[key]), f"{name}: {key}"


def test_the_unpacked_run_exports_to_the_same_graph(
    bundle: Path, corpus_folder: Path, tmp_path: Path
) -> None:
    unpack(bundle, tmp_path / "run")
    (tmp_path / "again").mkdir()
    again = _exported(tmp_path / "run", corpus_folder, tmp_path / "again")
    files = [Bundle.open(each).manifest.files["encoder.onnx"] for each in (bundle, again)]
    assert files[0] == files[1]
    record = read_run(tmp_path / "run")
    assert record["unpacked_from"]["version"] == "0.1.0"
    assert record["pairs.phrase"]["de"] > 0


def test_a_bundle_whose_tokens_are_of_an_inner_layer_comes_apart_as_well(
    run: Path, bundle: Path, corpus_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "inner").mkdir()
    inner = _exported(run, corpus_folder, tmp_path / "inner", LayerWish(1))
    unpack(inner, tmp_path / "run")
    (tmp_path / "again").mkdir()
    again = _exported(tmp_path / "run", corpus_folder, tmp_path / "again")
    graphs = [Bundle.open(each).manifest.files["encoder.onnx"] for each in (inner, again, bundle)]
    assert graphs[0] != graphs[1] == graphs[2]


def test_the_first_layers_are_an_encoder_of_their_own(
    bundle: Path, made_student_folder: Path, tmp_path: Path
) -> None:
    folder = unpack_first_layers(bundle, tmp_path / "small", 1)
    whole, small = (Backbone.open(str(each), True) for each in (made_student_folder, folder))
    ids, mask = small.pad(small.tokenize(["a small red house", "a river"], 48))
    # The oracle: the whole encoder with its second layer adding nothing.
    for name, parameter in whole.model.named_parameters():
        if name.startswith("encoder.layer.1.") and "output" in name:
            parameter.data.zero_()
    states = [
        each.model(input_ids=ids, attention_mask=mask).last_hidden_state for each in (whole, small)
    ]
    torch.testing.assert_close(*states)
    with pytest.raises(TrainingError, match="has 2 layers"):
        unpack_first_layers(bundle, tmp_path / "no", 2)


def test_a_run_is_never_overwritten(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="choose another folder"):
        unpack(bundle, tmp_path)


def test_a_backbone_that_others_made_is_named_not_unpacked(bundle: Path, tmp_path: Path) -> None:
    def without(provenance: dict[str, object]) -> None:
        provenance["backbone"] = {"source": "xlm-roberta-base", "sha256": "0"}

    with pytest.raises(TrainingError, match="xlm-roberta-base"):
        unpack(_changed(bundle, tmp_path / "b", without), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_backbone_of_another_sum_is_refused(bundle: Path, tmp_path: Path) -> None:
    def otherwise(provenance: dict[str, object]) -> None:
        backbone = provenance["backbone"]
        assert isinstance(backbone, dict)
        backbone["sha256"] = "0" * 64

    with pytest.raises(TrainingError, match="its manifest records 0000"):
        unpack(_changed(bundle, tmp_path / "b", otherwise), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def _changed(bundle: Path, target: Path, change: object) -> Path:
    opened = Bundle.open(bundle)
    manifest = opened.manifest.model_dump(mode="json", exclude={"format_version", "files"})
    assert callable(change)
    change(manifest["provenance"])
    write(target, manifest, {name: opened.file(name) for name in opened.manifest.files})
    return target


def test_stages_that_are_the_same_are_taken_from_the_earlier_run(
    bundle: Path, corpus: Corpus, tmp_path: Path
) -> None:
    earlier = tmp_path / "earlier"
    unpack(bundle, earlier)
    recipe = _recipe(tmp_path, earlier / BACKBONE_FOLDER, steps=3)
    assert reusable(recipe, Recipe.model_validate(read_run(earlier)["recipe"])) == [
        "phrase",
        "sentence",
    ]
    train(recipe, corpus, tmp_path / "run", earlier=earlier)
    for name, same in (("phrase", True), ("sentence", True), ("paragraph", False)):
        one, other = (
            adapters.load(each / name / ADAPTER_FILE) for each in (earlier, tmp_path / "run")
        )
        assert all(torch.equal(one[key], other[key]) for key in one) == same
    record = read_run(tmp_path / "run")
    assert record["reused.phrase"]["unpacked_from"]["name"] == "tiny"
    assert record["pairs.phrase"]["de"] > 0
    assert "reused.paragraph" not in record


def test_what_decides_a_stage_decides_whether_it_is_taken(
    made_student_folder: Path, tmp_path: Path
) -> None:
    recipe = _recipe(tmp_path, made_student_folder)
    everything = ["phrase", "sentence", "paragraph"]
    assert reusable(recipe, recipe) == everything
    assert reusable(recipe.model_copy(update={"seed": 2}), recipe) == []
    assert reusable(recipe.model_copy(update={"languages": ("de",)}), recipe) == []
    # Its bottleneck is narrower than it was, and the fresh weights of all after it are others.
    assert reusable(recipe.model_copy(update={"reduction_factor": 8.0}), recipe) == []
    mixed = recipe.adapters["paragraph"].model_copy(update={"mixed_with": {"sentence": 0.5}})
    longer = recipe.adapters["sentence"].model_copy(update={"steps": 13})
    one = recipe.model_copy(update={"adapters": {**recipe.adapters, "paragraph": mixed}})
    other = one.model_copy(update={"adapters": {**one.adapters, "sentence": longer}})
    assert reusable(one, one) == everything
    assert reusable(other, one) == ["phrase"]


def test_an_earlier_run_on_another_backbone_is_refused(
    bundle: Path, bert_folder: Path, corpus: Corpus, tmp_path: Path
) -> None:
    unpack(bundle, tmp_path / "earlier")
    with pytest.raises(TrainingError, match="another backbone"):
        train(
            _recipe(tmp_path, bert_folder), corpus, tmp_path / "run", earlier=tmp_path / "earlier"
        )
