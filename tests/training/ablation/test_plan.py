from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.ablation.conftest import PlanWriter
from training.ablation.jobs import Choice, Runs, expand
from training.ablation.plan import Comparison, Plan
from training.errors import TrainingError


def _expanded(file: Path, *, choice: Choice | None = None, **inputs: str) -> Runs:
    return expand(Plan.read(file), {"backbone": "there", **inputs}, choice or Choice())


def test_arms_are_the_recipe_with_their_changes_at_every_seed(write_plan: PlanWriter) -> None:
    runs = _expanded(write_plan())
    recipes = {job.name: job.recipe for job in runs.jobs}
    assert len(recipes) == len(runs.jobs) == 5
    for arm, temperature in (("cold", 0.02), ("warm", 0.5)):
        found = [recipes[name] for name in runs.of["tau", arm].values()]
        assert [recipe.seed for recipe in found] == [1, 2]
        for recipe in found:
            plan = recipe.adapters["sentence"]
            assert (plan.temperature, plan.steps, plan.learning_rate) == (temperature, 5, 0.02)
            assert recipe.backbone == "there"
        # The runs of one arm stand together in a listing.
        assert len({name.split("-")[0] for name in runs.of["tau", arm].values()}) == 1
    # No seed enters the plain backbone.
    assert list(runs.of["tau", "plain"]) == [1]
    wanted = {each.adapter for job in runs.jobs if not job.trained for each in job.wanted}
    assert wanted == {"none"}


def test_two_arms_of_one_recipe_share_their_runs_and_what_is_measured(
    write_plan: PlanWriter,
) -> None:
    again = """
[tables.again]
title = "Again"
adapters = ["none"]
measures = ["xsim"]
[tables.again.arms.also.recipe.adapters.sentence]
temperature = 0.5
"""
    file = write_plan(("[[tables.tau.claims]]", f"{again}\n[[tables.tau.claims]]"))
    runs = _expanded(file)
    assert len(runs.jobs) == 5
    assert runs.of["again", "also"] == runs.of["tau", "warm"]
    (job,) = (job for job in runs.jobs if job.name == runs.of["again", "also"][1])
    assert {(each.adapter, each.measure.task) for each in job.wanted} == {
        ("sentence", "tatoeba"),
        ("sentence", "xsim"),
        ("none", "xsim"),
    }


def test_a_run_is_known_by_what_it_computes(write_plan: PlanWriter) -> None:
    names = {job.name for job in _expanded(write_plan()).jobs}
    for old, new, kept in (
        # Titles and claims decide nothing.
        ('title = "Two temperatures"', 'title = "Another"', 5),
        ("steps = 5", "steps = 6", 0),
        ("temperature = 0.5", "temperature = 0.6", 3),
        ("[recipe]", "[subset]\npairs = 9\n[recipe]", 0),
    ):
        changed = {job.name for job in _expanded(write_plan((old, new))).jobs}
        assert len(names & changed) == kept, new
    assert not names & {job.name for job in _expanded(write_plan(), backbone="other").jobs}


def test_only_what_was_chosen_is_to_be_run(write_plan: PlanWriter) -> None:
    needs = ("temperature = 0.5", 'temperature = 0.5\nstart_from = "$from"')
    declared = ("[recipe]", "[inputs.from]\nabout = 'an adapter'\n[recipe]")
    file = write_plan(needs, declared)
    with pytest.raises(TrainingError, match="tau, warm needs --input from=VALUE: an adapter"):
        _expanded(file)
    runs = _expanded(file, choice=Choice(arms=("cold",)))
    assert {job.name for job in runs.jobs} == set(runs.of["tau", "cold"].values())
    assert ("tau", "warm") not in runs.of
    assert ("tau", "plain") in runs.of


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice(tables=("tua",)), "--only names tua; the plan has tau"),
        (Choice(arms=("hot",)), "--arms names hot; the plan has plain, cold, warm"),
    ],
)
def test_a_choice_of_what_is_not_there_is_refused(
    choice: Choice, message: str, write_plan: PlanWriter
) -> None:
    with pytest.raises(TrainingError, match=message):
        _expanded(write_plan(), choice=choice)


def test_an_input_that_no_plan_asks_for_is_refused(write_plan: PlanWriter) -> None:
    with pytest.raises(TrainingError, match="--input names speed; the plan's inputs are backbone"):
        _expanded(write_plan(), speed="9")


ALONE = "[tables.tau.arms.cold.recipe.adapters.sentence]"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('task = "xsim"', 'task = "xism"', "measures.xsim: .*'xism'; there are tatoeba, xsim"),
        ('task = "xsim"', 'task = "xsim"\nfigure = "f1"', "'f1'; xsim has error, xx_to_en"),
        ('on = ["Tatoeba"]', 'on = ["BUCC"]', "tables.tau: no measure is called BUCC; there are"),
        ('"cold", "warm"', '"cold", "hot"', "tables.tau.claims: no row is called hot; there are"),
        ("warm = [nan]", "warm = [nan, 1]", "warm has 2 figures for 1 columns"),
        ("warm = [nan]", "hot = [nan]", "tables.tau.published: no row is called hot"),
        ('adapters = ["sentence"]', 'adapters = ["word"]', "through word; there are none, sent"),
        ("temperature = 0.5", "tau = 0.5", "tables.tau.arms.warm: adapters.sentence.tau: Extra"),
        ("steps = 5", "steps = 0", r"tables.tau.arms.\w+: adapters.sentence.steps"),
        ("seeds = [1, 2]", "seeds = [1, 1]", "seeds: name each once"),
        ("[recipe]", "[recipe]\nseed = 3", "has a recipe with a seed; `seeds` says them"),
        ('"$backbone"', '"$spine"', r"the recipe says \$spine; the plan's inputs are backbone"),
        ("title = ", "titel = ", "titel: Extra inputs"),
        ("seeds = [1", "seeds = 1", "plan .* cannot be read"),
        ("arms.cold", 'arms."a/b"', "tables.tau.arms.a/b"),
        (
            ALONE,
            "[tables.tau.arms.cold.recipe.joint]\nsteps = 1\nbatch_pairs = 2\nlearning_rate = 1\n"
            "[tables.tau.arms.cold.recipe.adapters.phrase]\ngranularity = 'phrase'\nsteps = 1\n"
            "max_tokens = 9\nbatch_pairs = 2\nlearning_rate = 1\n"
            f"[subset]\npairs = 3\n{ALONE}",
            "a joint stage needs a whole corpus table",
        ),
        (
            'granularity = "sentence"',
            'granularity = "word"',
            "sentence is for token states, and tatoeba reads whole texts",
        ),
    ],
)
def test_a_wrong_plan_is_refused_with_the_place(
    old: str, new: str, message: str, write_plan: PlanWriter
) -> None:
    with pytest.raises(TrainingError, match=message):
        _expanded(write_plan((old, new)))


def test_rows_are_arms_or_arms_through_adapters(write_plan: PlanWriter) -> None:
    alone = Plan.read(write_plan()).tables["tau"]
    assert alone.rows == {
        "plain": ("none", "plain"),
        "cold": ("sentence", "cold"),
        "warm": ("sentence", "warm"),
    }
    several = alone.model_copy(update={"adapters": ("sentence", "phrase")})
    assert list(several.rows) == [
        "plain",
        *("sentence/cold", "phrase/cold", "sentence/warm", "phrase/warm"),
    ]


def test_an_order_is_each_place_against_the_next_on_every_measure(write_plan: PlanWriter) -> None:
    claim = Plan.read(write_plan()).tables["tau"].claims[0]
    wider = claim.model_copy(update={"on": ("a", "b"), "order": ("x", ("y", "z"), "w")})
    assert set(wider.comparisons) == {
        Comparison(better, worse, measure)
        for measure in "ab"
        for better, worse in (("x", "y"), ("x", "z"), ("y", "w"), ("z", "w"))
    }
    assert len(wider.comparisons) == 8
