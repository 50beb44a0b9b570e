"""The layer that token states are taken from: which there are, and which is best for words."""

from __future__ import annotations

import json
import lzma
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray

from models.bundle import Bundle
from tests.tiny_training import RecipeWriter, sentence
from training import adapters, token_layer
from training.adapters.weights import parts
from training.backbone import Backbone, layer_states
from training.cli import cli
from training.errors import TrainingError
from training.recipe import Recipe
from training.student.model import StudentConfig, StudentModel
from training.token_layer import LayerWish, best, choose, measure
from training.trainer import Corpus, train

WORD_RECIPE = """
[adapters.word]
granularity = "word"
max_tokens = 24
steps = 2
batch_pairs = 16
learning_rate = 0.02
objectives = { token_alignment = 1.0 }
"""


def _adapted(folder: Path, file: Path) -> tuple[Backbone, Recipe]:
    """A backbone with the recipe's adapters, which do something at every layer."""
    recipe = Recipe.read(file, backbone=str(folder))
    backbone = Backbone.open(str(folder), half_weights=False, attention="eager")
    adapters.attach_kinds(backbone.model, recipe.kinds)
    generator = torch.Generator().manual_seed(1)
    for name in recipe.served:
        for _, _, part in parts(backbone.model, name):
            for parameter in part.parameters():
                parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    backbone.model.eval()
    return backbone, recipe


@pytest.fixture(params=["bert", "xlmr", "student"])
def adapted(request: pytest.FixtureRequest, write_recipe: RecipeWriter) -> tuple[Backbone, Recipe]:
    folder = request.getfixturevalue(f"{request.param}_folder")
    return _adapted(folder, write_recipe(folder))


def test_the_states_of_a_layer_are_what_that_layer_gave(
    adapted: tuple[Backbone, Recipe],
) -> None:
    backbone, _ = adapted
    model: Any = backbone.model
    adapters.select(model, "sentence")
    assert backbone.layers == len(model.encoder.layer) == 2
    given: list[torch.Tensor] = []
    for layer in model.encoder.layer:
        layer.register_forward_hook(
            lambda *call: given.append(call[2][0] if isinstance(call[2], tuple) else call[2])
        )
    ids, mask = backbone.pad(backbone.tokenize(["red green blue 7", "rot 3"], 32))
    with torch.no_grad():
        found = layer_states(model, ids, mask)
        assert len(found) == len(given) == 2
        if isinstance(model, StudentModel):  # the stream, whose tokens have weights
            table = model.embeddings(ids)
            given = [each * table.square().mean(-1, keepdim=True).sqrt() for each in given]
        for states, expected in zip(found, given, strict=True):
            np.testing.assert_allclose(
                states[mask == 1].numpy(), expected[mask == 1].numpy(), atol=1e-6
            )
        assert (found[0] - found[1]).abs().max() > 1e-2
        last = model(input_ids=ids, attention_mask=mask).last_hidden_state
        assert torch.equal(found[1], last)
        # With the adapters of its own layer and those before it.
        adapters.select(model, "phrase")
        other = layer_states(model, ids, mask)
    assert (found[0] - other[0]).abs().max() > 1e-2


def test_all_layers_of_a_rotated_student_are_turned_alike() -> None:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "vocab_size": 30,
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "intermediate_size": 16,
    }
    plain = StudentModel(StudentConfig(**sizes, num_attention_heads=2))
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    turned = StudentModel(StudentConfig(**sizes, num_attention_heads=2, rotated=True))
    turn = torch.linalg.qr(torch.randn(8, 8))[0]
    turned.load_state_dict({**plain.state_dict(), "rotation.weight": turn})
    ids, mask = torch.tensor([[3, 7, 9, 4]]), torch.ones(1, 4, dtype=torch.int64)
    with torch.no_grad():
        before, after = (layer_states(model, ids, mask) for model in (plain, turned))
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose((one @ turn.T).numpy(), other.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("errors", "layer"), [([30.0, 20.0, 25.0], 2), ([30.0, 20.0, 20.0], 3), ([5.0], 1)]
)
def test_the_best_layer_has_the_least_error_and_of_equal_ones_is_the_last(
    errors: list[float], layer: int
) -> None:
    assert best(errors) == layer


def test_what_a_person_may_ask_for(tmp_path: Path) -> None:
    assert LayerWish.read("last", None) == LayerWish()
    assert LayerWish.read("2", None) == LayerWish(2)
    assert LayerWish.read("auto", tmp_path) == LayerWish(evaluation=tmp_path)
    for text in ("first", "-1", "1.5", "²", ""):
        with pytest.raises(TrainingError, match="use last, auto or the number of a layer"):
            LayerWish.read(text, None)
    for text, folder in (("auto", None), ("last", tmp_path), ("2", tmp_path)):
        with pytest.raises(TrainingError, match="go together"):
            LayerWish.read(text, folder)


def _write_links(folder: Path, name: str, language: str, seed: int, possible: bool) -> list[Any]:
    """Six sentences with made-up links, some of them only possible."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(6):
        links = {(int(a), int(b)) for a, b in rng.integers(0, 5, (6, 2))}
        sure = sorted(links)[:4]
        rows.append(
            {
                "lang_a": "en",
                "lang_b": language,
                "tokens_a": sentence("en", number, 5).split(),
                "tokens_b": sentence(language, number + seed, 5).split(),
                "sure": sure,
                "possible": sorted(links) if possible else [],
            }
        )
    target = folder / "word_alignment" / f"{name}.jsonl.xz"
    target.parent.mkdir(exist_ok=True)
    with lzma.open(target, "wt", encoding="utf-8") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)
    return rows


@pytest.fixture
def dev(tmp_path: Path) -> tuple[Path, dict[str, list[Any]]]:
    """Two development sets, one in a language that nothing here speaks, and a test set, of which
    no line can be read."""
    folder = tmp_path / "gold"
    folder.mkdir()
    sets = {
        "made_dev_en-de": _write_links(folder, "made_dev_en-de", "de", 1, True),
        "made-dev_en-fr": _write_links(folder, "made-dev_en-fr", "fr", 2, False),
    }
    _write_links(folder, "other_dev_en-xx", "de", 3, False)
    foreign = folder / "word_alignment" / "other_dev_en-xx.jsonl.xz"
    with lzma.open(foreign, "rt", encoding="utf-8") as lines:
        text = lines.read().replace('"de"', '"is"')
    with lzma.open(foreign, "wt", encoding="utf-8") as out:
        out.write(text)
    for name in ("made_en-de", "devanagari_en-hi"):
        with lzma.open(folder / "word_alignment" / f"{name}.jsonl.xz", "wt") as out:
            out.write("a test set: not to be read\n")
    return folder, sets


def _by_hand(backbone: Backbone, rows: Sequence[Any], layer: int) -> float:
    """The alignment error rate of mutual best in percent, a sentence and a word at a time, from
    the library's own `hidden_states`."""

    def words(tokens: list[str]) -> list[NDArray[np.float32]]:
        encoding = backbone.tokenizer.encode(tokens, is_pretokenized=True)
        ids, mask = backbone.pad([encoding.ids])
        with torch.no_grad():
            states = backbone.model(
                input_ids=ids, attention_mask=mask, output_hidden_states=True
            ).hidden_states[layer][0]
        return [
            np.mean(
                [s.numpy() for s, w in zip(states, encoding.word_ids, strict=True) if w == n], 0
            )
            for n in range(len(tokens))
        ]

    hits, total = 0, 0
    for row in rows:
        one, other = words(row["tokens_a"]), words(row["tokens_b"])
        cosines = [
            [float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for b in other] for a in one
        ]
        links = {
            (i, j)
            for i, line in enumerate(cosines)
            for j in [line.index(max(line))]
            if max(range(len(one)), key=lambda k: cosines[k][j]) == i
        }
        sure = {tuple(link) for link in row["sure"]}
        possible = sure | {tuple(link) for link in row["possible"]}
        hits += len(links & sure) + len(links & possible)
        total += len(links) + len(sure)
    return 100 * (1 - hits / total)


def test_each_layer_is_measured_as_a_count_by_hand_does_on_development_sets_alone(
    adapted: tuple[Backbone, Recipe], dev: tuple[Path, dict[str, list[Any]]]
) -> None:
    backbone, recipe = adapted
    folder, sets = dev
    found = measure(backbone, recipe, folder)
    assert (found.adapter, found.sentences) == ("sentence", 12)
    adapters.select(backbone.model, "sentence")
    assert set(found.aer_by_set) == set(sets)
    for name, rows in sets.items():
        expected = [_by_hand(backbone, rows, layer) for layer in (1, 2)]
        np.testing.assert_allclose(found.aer_by_set[name], expected, atol=6e-4)
    means = np.mean(list(found.aer_by_set.values()), axis=0)
    np.testing.assert_allclose(found.aer, means, atol=1.1e-3)
    assert found.aer[0] != found.aer[1]
    told = choose(LayerWish(evaluation=folder), backbone, recipe)
    assert (told.layer, told.layers) == (best(found.aer), 2)
    assert told.measured == found


def test_the_word_adapter_is_measured_where_there_is_one(
    bert_folder: Path, write_recipe: RecipeWriter, dev: tuple[Path, dict[str, list[Any]]]
) -> None:
    file = write_recipe(bert_folder)
    file.write_text(file.read_text() + WORD_RECIPE)
    backbone, recipe = _adapted(bert_folder, file)
    found = measure(backbone, recipe, dev[0])
    assert found.adapter == "word"
    adapters.select(backbone.model, "word")
    rows = dev[1]["made_dev_en-de"]
    expected = [_by_hand(backbone, rows, layer) for layer in (1, 2)]
    np.testing.assert_allclose(found.aer_by_set["made_dev_en-de"], expected, atol=6e-4)


def test_without_development_data_in_its_languages_nothing_is_chosen(
    bert_folder: Path, write_recipe: RecipeWriter, dev: tuple[Path, dict[str, list[Any]]]
) -> None:
    backbone, recipe = _adapted(bert_folder, write_recipe(bert_folder))
    folder = dev[0]
    for name in dev[1]:
        (folder / "word_alignment" / f"{name}.jsonl.xz").unlink()
    with pytest.raises(TrainingError, match="in a language of en with de, fr, ja"):
        measure(backbone, recipe, folder)


def test_the_best_layer_is_exported_from_the_command_line(
    student_folder: Path,
    corpus: Corpus,
    corpus_folder: Path,
    write_recipe: RecipeWriter,
    dev: tuple[Path, dict[str, list[Any]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, out = tmp_path / "run", tmp_path / "bundle"
    train(Recipe.read(write_recipe(student_folder, steps=2)), corpus, run)
    (tmp_path / "card.md").write_text("# $version\n")
    # So that it is an inner one, whatever the made-up links favour.
    rates = iter([10.0, 20.0, 30.0, 40.0])
    monkeypatch.setattr(token_layer, "alignment_error_rate", lambda *_: next(rates))
    command = [
        *("export", "--run", str(run), "--out", str(out), "--name", "tiny", "--version", "0.1.0"),
        *("--card", str(tmp_path / "card.md"), "--corpus", str(corpus_folder)),
    ]
    auto = ["--token-layer", "auto", "--evaluation", str(dev[0])]
    result = CliRunner().invoke(cli, [*command, *auto], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "token states: layer 1 of 2; AER of adapter sentence by layer: 20.00, 30.00" in (
        result.stderr
    )
    told = Bundle.open(out).manifest.token_layer
    assert told is not None
    assert told.layer == 1
    assert told.measured is not None
    assert told.measured.aer_by_set == {
        "made-dev_en-fr": (10.0, 20.0),
        "made_dev_en-de": (30.0, 40.0),
    }
    with pytest.raises(TrainingError, match="go together"):
        CliRunner().invoke(cli, [*command, "--token-layer", "auto"], catch_exceptions=False)
