from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from training.recipe import Recipe
from training.terms.recipe import TAUGHT, Objective

PLAN = {"max_tokens": 8, "steps": 1, "batch_pairs": 2, "learning_rate": 0.1}


def _read(
    granularity: str = "sentence",
    top: dict[str, Any] | None = None,
    **fields: Any,  # noqa: ANN401
) -> Recipe:
    adapter = {"granularity": granularity, **PLAN, **fields}
    values = {"backbone": "b", "languages": ["de", "ja"], "adapters": {"a": adapter}}
    return Recipe.model_validate({**values, **(top or {})})


def test_a_stage_minimises_info_nce_unless_it_says_otherwise() -> None:
    assert _read().adapters["a"].objectives == {"info_nce": 1.0}
    named = _read(objectives={"info_nce": 0.5, "masked": 2}).adapters["a"]
    assert named.objectives == {"info_nce": 0.5, "masked": 2.0}
    recipe = _read(objectives={"crops": 1}, crops={"queue": 8})
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


@pytest.mark.parametrize("objective", sorted(TAUGHT))
def test_what_learns_from_a_teacher_needs_one(objective: Objective) -> None:
    with pytest.raises(ValidationError, match=rf"a\.objectives: {objective} learns from a teacher"):
        _read(objectives={objective: 1.0})
    assert _read(objectives={objective: 1.0}, top={"teacher": "t"})


def test_a_teacher_is_needed_by_name() -> None:
    assert {each for each in Objective if each.split("_")[0] in ("soft", "monolingual", "tcm")} | {
        "embedding_mse",
        "similarity_mse",
        "similarity_mse_average",
    } == TAUGHT


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"objectives": {}}, "at least 1 item"),
        ({"objectives": {"infonce": 1.0}}, "'info_nce', 'soft_priority'"),
        ({"objectives": {"info_nce": 0}}, "greater than 0"),
        ({"margin": -0.1}, "margin"),
        ({"tokens": {"partners": "dictionary"}}, "give both, or leave both out"),
        ({"tokens": {"dictionary": "words.parquet"}}, "give both, or leave both out"),
        ({"tokens": {"partners": "nobody"}}, "'backbone', 'own', 'dictionary' or 'aligner'"),
        ({"crops": {"shortest": 0.6}}, "shortest is above longest"),
        ({"crops": {"momentum": 1.5}}, "less than or equal to 1"),
        ({"negatives": {"share": 1.0}}, "less than 1"),
        ({"masking": {"share": 0}}, "greater than 0"),
        ({"granularity": "phrase", "objectives": {"crops": 1}}, "phrases have fewer"),
        (
            {"objectives": {"transliteration": 1}, "top": {"languages": ["de", "fr"]}},
            "not written in Latin letters, and the recipe has de, fr",
        ),
        (
            {"objectives": {"masked": 1}, "kind": "projection"},
            "masked trains token states, and adapter a is a head",
        ),
    ],
)
def test_what_an_objective_lacks_is_said_when_the_recipe_is_read(
    fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValidationError, match=reason):
        _read(**fields)


def test_the_joint_stage_has_objectives_of_its_own() -> None:
    adapters = {
        name: {"granularity": name, **PLAN, "max_tokens": 8} for name in ("phrase", "paragraph")
    }
    joint = {"steps": 1, "batch_pairs": 2, "learning_rate": 0.1}

    def read(objectives: dict[str, float], **top: Any) -> Recipe:  # noqa: ANN401
        stage = {**joint, "objectives": objectives}
        return _read(top={"adapters": adapters, "joint": stage, **top})

    assert read({"info_nce": 1, "crops": 0.5}).stages["joint"].objectives[Objective.CROPS] == 0.5
    with pytest.raises(ValidationError, match=r"joint\.objectives: tcm learns from a teacher"):
        read({"tcm": 1})
    with pytest.raises(ValidationError, match=r"joint\.objectives: token_alignment needs transl"):
        read({"token_alignment": 1})
    with pytest.raises(ValidationError, match="adapter phrase is a head"):
        read({"late_interaction": 1}, kind="projection")
