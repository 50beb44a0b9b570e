"""The plans that are shipped: each reads, and every arm of it is a recipe that trains."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.ablation.cost import training_cost
from training.ablation.jobs import Choice, Runs, expand
from training.ablation.plan import Plan
from training.objectives.contrastive import Direction
from training.terms.recipe import Objective

FOLDER = Path(__file__).parents[3] / "training/recipes/ablations"
PLANS = ("adapters", "granularity", "mining", "negatives", "noise", "soft", "words")


def _expanded(name: str) -> tuple[Plan, Runs]:
    plan = Plan.read(FOLDER / f"{name}.toml")
    given = {name: each.default or "there" for name, each in plan.inputs.items()}
    return plan, expand(plan, given, Choice())


def test_these_are_all() -> None:
    assert sorted(file.stem for file in FOLDER.iterdir()) == list(PLANS)


@pytest.mark.parametrize("name", PLANS)
def test_every_arm_is_a_recipe_and_a_table_fits_two_hours(name: str) -> None:
    plan, runs = _expanded(name)
    assert plan.seeds == (1, 2, 3)
    jobs = {job.name: job for job in runs.jobs}
    for table, arms in plan.tables.items():
        own = {job: jobs[job] for arm in arms.arms for job in runs.of[table, arm].values()}
        for arm, found in arms.arms.items():
            seeds = list(runs.of[table, arm])
            assert seeds == [1, 2, 3] or (not found.train and seeds == [1])
        hours = sum(training_cost(job).tokens for job in own.values()) / 15_000 / 3600
        # What is left of two hours is for measuring and loading.
        assert 0.005 < hours < 1.4, (table, hours)


def test_arms_differ_in_what_their_names_say() -> None:
    granularity, runs = _expanded("granularity")
    jobs = {job.name: job for job in runs.jobs}
    for arm, expected in (
        ("CL", {Objective.INFO_NCE}),
        ("MLM", {Objective.MASKED}),
        ("CL+MLM", {Objective.INFO_NCE, Objective.MASKED}),
    ):
        for job in runs.of["objectives", arm].values():
            adapters = jobs[job].recipe.adapters
            assert list(adapters) == ["phrase", "sentence", "paragraph"]
            assert all(set(each.objectives) == expected for each in adapters.values())
            # As the paper has it.
            assert all(each.direction is Direction.ONE_WAY for each in adapters.values())
            assert all(each.temperature == 0.1 for each in adapters.values())
    published = granularity.tables["objectives"].published[0].rows
    assert list(published) == ["NO", *(row for row in published if row != "NO")]
    assert published.keys() == granularity.tables["objectives"].rows.keys()
    soft, runs = _expanded("soft")
    with_term = [arm for arm in soft.tables["soft"].arms if arm.endswith("+TCM")]
    assert len(with_term) == 6
    jobs = {job.name: job for job in runs.jobs}
    for arm in with_term:
        with_it, without = (
            set(jobs[runs.of["soft", name][1]].recipe.adapters["sentence"].objectives)
            for name in (arm, arm.removesuffix("+TCM"))
        )
        assert with_it != without
        assert any(each.startswith(("tcm", "monolingual")) for each in with_it)
        assert not any(each.startswith(("tcm", "monolingual")) for each in without)


def test_equal_effective_batches_are_equal() -> None:
    _, runs = _expanded("negatives")
    jobs = {job.name: job for job in runs.jobs}
    plans = {
        arm: jobs[runs.of["negatives", arm][1]].recipe.adapters["sentence"]
        for arm in ("in-batch", "GradCache", "gathered")
    }
    assert {each.batch_pairs * each.accumulation_steps for each in plans.values()} == {128}
    assert len({each.steps for each in plans.values()}) == 1
    assert plans["GradCache"].gradient_cache
    assert not plans["gathered"].gradient_cache
    # The arms that all tables share are trained once.
    shared = {
        runs.of[table, arm][1]
        for table, arm in (
            ("negatives", "gathered"),
            ("direction", "symmetric"),
            ("temperature", "0.05"),
            ("languages", "mixed"),
        )
    }
    assert len(shared) == 1
