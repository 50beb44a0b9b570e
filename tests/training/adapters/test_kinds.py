from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.bundle import Granularity
from training.adapters.kinds import Houlsby, Lora, Pfeiffer, Projected, Projection
from training.errors import TrainingError
from training.recipe import Recipe

PLAN = "max_tokens = 8\nsteps = 1\nbatch_pairs = 2\nlearning_rate = 0.1\n"


def _adapter(name: str, rest: str = "", granularity: str = "phrase") -> str:
    return f'[adapters.{name}]\ngranularity = "{granularity}"\n{PLAN}{rest}\n'


def _read(tmp_path: Path, tables: str, top: str = "") -> Recipe:
    file = tmp_path / "recipe.toml"
    file.write_text(f'backbone = "b"\nlanguages = ["de"]\n{top}\n{tables}')
    return Recipe.read(file)


def test_a_recipe_without_kinds_is_of_pfeiffer_bottlenecks_of_its_reduction_factor(
    tmp_path: Path,
) -> None:
    assert _read(tmp_path, _adapter("a")).kinds == {"a": Pfeiffer(reduction_factor=16)}
    recipe = _read(tmp_path, _adapter("a"), "reduction_factor = 8")
    assert recipe.kinds == {"a": Pfeiffer(reduction_factor=8)}


def test_an_adapter_may_be_of_another_kind_than_the_recipe_says(tmp_path: Path) -> None:
    recipe = _read(
        tmp_path,
        _adapter("a")
        + _adapter("b", 'kind = { name = "lora", rank = 4, alpha = 2, projections = ["key"] }')
        + _adapter("c", 'kind = { name = "projection", reduction_factor = 1 }')
        + _adapter("d", 'kind = "lora"'),
        'kind = "houlsby"\nreduction_factor = 4',
    )
    assert recipe.kinds == {
        "a": Houlsby(reduction_factor=4),
        "b": Lora(rank=4, alpha=2, projections=(Projected.KEY,)),
        "c": Projection(reduction_factor=1),
        "d": Lora(rank=8, alpha=8, projections=(Projected.QUERY, Projected.VALUE)),
    }
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ('"fusion"', r"kind: .*fusion cannot be exported: .*average the adapters instead"),
        ('{ name = "prefix-tuning", length = 3 }', "prefix-tuning cannot be exported: prefixes"),
        ('"loha"', "'pfeiffer', 'houlsby', 'lora', 'projection'"),
        ('{ name = "pfeiffer", rank = 3 }', r"pfeiffer\.rank: Extra inputs"),
        ('{ name = "lora", reduction_factor = 3 }', r"lora\.reduction_factor: Extra inputs"),
        ('{ name = "lora", rank = 0 }', "greater than or equal to 1"),
        ('{ name = "lora", projections = [] }', "at least 1 item"),
        ('{ name = "lora", projections = ["key", "key"] }', "name each once"),
        ('{ name = "lora", projections = ["gate"] }', "'query', 'key', 'value', 'intermediate'"),
    ],
)
def test_a_kind_that_cannot_be_is_refused_when_the_recipe_is_read(
    tmp_path: Path, kind: str, reason: str
) -> None:
    with pytest.raises(TrainingError, match=reason):
        _read(tmp_path, _adapter("a", f"kind = {kind}"))
    with pytest.raises(TrainingError, match=reason):
        _read(tmp_path, _adapter("a"), f"kind = {kind}")


def test_an_adapter_starts_from_one_of_its_own_kind_and_size(tmp_path: Path) -> None:
    other = 'start_from = "a"\nkind = { name = "pfeiffer", reduction_factor = 4 }'
    with pytest.raises(TrainingError, match="b starts from a, which is of another kind"):
        _read(tmp_path, _adapter("a") + _adapter("b", other))
    assert _read(tmp_path, _adapter("a") + _adapter("b", other), "reduction_factor = 4")


def test_a_word_adapter_is_in_the_bundle_and_no_text_is_of_its_granularity(
    tmp_path: Path,
) -> None:
    recipe = _read(tmp_path, _adapter("w", granularity="word") + _adapter("a"))
    assert recipe.by_granularity == {Granularity.PHRASE: "a"}
    assert list(recipe.served) == ["w", "a"]
    joint = "[joint]\nsteps = 1\nbatch_pairs = 2\nlearning_rate = 0.1\n"
    with pytest.raises(TrainingError, match="adapters of two granularities"):
        _read(tmp_path, _adapter("w", granularity="word") + _adapter("a") + joint)


def test_a_word_adapter_cannot_be_a_head_on_the_vector_of_a_text(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="adapter w: a projection head changes the vector"):
        _read(tmp_path, _adapter("w", 'kind = "projection"', granularity="word"))
    mean = '[averages.w]\ngranularity = "word"\nmax_tokens = 8\nof = ["a", "b"]\n'
    with pytest.raises(TrainingError, match="adapter w: a projection head changes the vector"):
        _read(tmp_path, _adapter("a") + _adapter("b") + mean, 'kind = "projection"')


def test_an_average_stands_behind_the_trained_adapters(tmp_path: Path) -> None:
    two = _adapter("a") + _adapter("b", granularity="sentence")
    mean = '[averages.m]\ngranularity = "paragraph"\nmax_tokens = 9\nof = ["a", "b"]\n'
    recipe = _read(tmp_path, mean + two)
    assert list(recipe.served) == ["a", "b", "m"]
    assert recipe.served["m"].max_tokens == 9
    assert recipe.kinds["m"] == recipe.kinds["a"]
    assert recipe.averages["m"].weights == (0.5, 0.5)
    assert list(recipe.by_granularity) == ["phrase", "sentence"]
    low_rank = _read(tmp_path, mean + two, 'kind = { name = "lora", rank = 3, alpha = 6 }')
    assert low_rank.kinds["m"] == Lora(rank=6, alpha=12)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"of": '["a", "z"]'}, "m is of z; the trained adapters are a, b"),
        ({"of": '["a"]'}, "at least 2 items"),
        ({"of": '["a", "a"]'}, "name each adapter once"),
        ({"shares": "[0.5, 0.6]"}, "give 2 numbers that sum to 1"),
        ({"shares": "[1.0]"}, "give 2 numbers that sum to 1"),
        ({"steps": "3"}, r"averages\.m\.steps: Extra inputs"),
    ],
)
def test_an_average_that_cannot_be_is_refused(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    values = {"granularity": '"phrase"', "max_tokens": "8", "of": '["a", "b"]'} | changes
    mean = "[averages.m]\n" + "".join(f"{key} = {value}\n" for key, value in values.items())
    with pytest.raises(TrainingError, match=reason):
        _read(tmp_path, _adapter("a") + _adapter("b") + mean)


def test_an_average_is_of_one_kind_and_has_a_name_of_its_own(tmp_path: Path) -> None:
    two = _adapter("a") + _adapter("b", 'kind = "houlsby"')
    mean = '[averages.m]\ngranularity = "phrase"\nmax_tokens = 9\nof = ["a", "b"]\n'
    with pytest.raises(TrainingError, match="different kinds or sizes, which have no mean"):
        _read(tmp_path, two + mean)
    with pytest.raises(TrainingError, match="b is the name of a trained adapter"):
        _read(tmp_path, _adapter("a") + _adapter("b") + mean.replace("averages.m", "averages.b"))
