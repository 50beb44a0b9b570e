"""The runs that a plan needs: one for every arm and seed, and one where two arms are the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from models.bundle import Granularity
from training.ablation.plan import Arm, Measure, Plan, Subset, Table, is_untrained_backbone
from training.errors import TrainingError
from training.evaluation.reading import PLAIN
from training.evaluation.tasks import TASKS
from training.recipe import Recipe

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A measure through one adapter."""

    adapter: str
    measure: Measure


@dataclass(frozen=True, slots=True)
class Job:
    """A run, and what is measured of it."""

    # Of its folder: follows from the recipe's values, the subset, the seed and whether it trains.
    name: str
    recipe: Recipe
    trained: bool
    subset: Subset | None
    wanted: tuple[Wanted, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which tables and arms to run; None: all."""

    tables: Collection[str] | None = None
    arms: Collection[str] | None = None

    def takes(self, table: str, arm: str) -> bool:
        """Whether an arm of a table is among them."""
        return (self.tables is None or table in self.tables) and (
            self.arms is None or arm in self.arms
        )

    def check(self, plan: Plan) -> None:
        """Raises TrainingError where the plan has no table or arm of a name, or no chosen table has
        a chosen arm."""
        arms = list(dict.fromkeys(arm for table in plan.tables.values() for arm in table.arms))
        for option, chosen, known in (
            ("--only", self.tables, list(plan.tables)),
            ("--arms", self.arms, arms),
        ):
            if unknown := [name for name in chosen or () if name not in known]:
                raise TrainingError(
                    f"{option} names {', '.join(unknown)}; the plan has {', '.join(known)}"
                )
        if not any(self.takes(t, a) for t, table in plan.tables.items() for a in table.arms):
            raise TrainingError("--only and --arms together leave nothing to do")


@dataclass(frozen=True, slots=True)
class Runs:
    """All runs of a plan, and which arms they are of."""

    # In the order of the plan, those of one seed together, so that a cut leaves whole tables.
    jobs: tuple[Job, ...]
    # (table, arm) -> seed -> name of the run; one seed where none enters. Arms that were not chosen
    # and lack an input are not in it.
    of: Mapping[tuple[str, str], Mapping[int, str]]


def expand(plan: Plan, inputs: Mapping[str, str], choice: Choice) -> Runs:
    """The runs of a plan, `jobs` those of the arms chosen.

    Raises TrainingError, naming the arm, where its recipe is not valid, an input was not given, or
    an adapter that is to be measured is not in it.
    """
    choice.check(plan)
    given = _inputs(plan, inputs)
    jobs: dict[str, Job] = {}
    of: dict[tuple[str, str], dict[int, str]] = {}
    for seed in plan.seeds:
        for name, table in plan.tables.items():
            for arm in table.arms:
                chosen = choice.takes(name, arm)
                values = _filled(_merged(plan.recipe, table.arms[arm].recipe), given)
                if isinstance(values, _Lacking):
                    if chosen:
                        raise TrainingError(values.message(plan, f"{name}, {arm}"))
                    continue
                seedless = is_untrained_backbone(table.arms[arm], table.adapters_of(arm))
                if seedless and seed != plan.seeds[0]:
                    continue
                job = _job(plan, table, (name, arm), {**values, "seed": seed})
                of.setdefault((name, arm), {})[seed] = job.name
                if chosen:
                    known = jobs.get(job.name)
                    jobs[job.name] = job if known is None else _joined(known, job)
    return Runs(tuple(jobs.values()), of)


@dataclass(frozen=True, slots=True)
class _Lacking:
    """A recipe says `$name`, and nothing was given for it."""

    name: str

    def message(self, plan: Plan, where: str) -> str:
        if self.name not in plan.inputs:
            there = ", ".join(plan.inputs) or "none"
            return f"{where}: the recipe says ${self.name}; the plan's inputs are {there}"
        about = plan.inputs[self.name].about
        return f"{where} needs --input {self.name}=VALUE: {about}"


def _inputs(plan: Plan, inputs: Mapping[str, str]) -> dict[str, str]:
    if unknown := [name for name in inputs if name not in plan.inputs]:
        raise TrainingError(
            f"--input names {', '.join(unknown)}; the plan's inputs are "
            f"{', '.join(plan.inputs) or 'none'}"
        )
    defaults = {
        name: each.default for name, each in plan.inputs.items() if each.default is not None
    }
    return {**defaults, **inputs}


def _merged(base: Values, changes: Values) -> Values:
    """`base` with `changes`: tables are merged, everything else is replaced."""
    merged = dict(base)
    for key, value in changes.items():
        known = merged.get(key)
        both = isinstance(known, dict) and isinstance(value, dict)
        merged[key] = _merged(known, value) if both else value  # type: ignore[arg-type]
    return merged


def _filled(values: Values, given: Mapping[str, str]) -> Values | _Lacking:
    """`values` with what was given for every `$name`."""
    filled: Values = {}
    for key, value in values.items():
        if isinstance(value, dict):
            inner = _filled(value, given)
            if isinstance(inner, _Lacking):
                return inner
            filled[key] = inner
        elif isinstance(value, str) and value.startswith("$"):
            if value[1:] not in given:
                return _Lacking(value[1:])
            filled[key] = given[value[1:]]
        else:
            filled[key] = value
    return filled


def _job(plan: Plan, table: Table, place: tuple[str, str], values: Values) -> Job:
    arm = table.arms[place[1]]
    where = f"tables.{place[0]}.arms.{place[1]}"
    recipe = Recipe.of(values, where)
    if plan.subset is not None and recipe.joint is not None:
        raise TrainingError(
            f"{where}: a joint stage needs a whole corpus table, and `subset` makes translations "
            "of it; leave one of them out"
        )
    adapters = table.adapters_of(place[1])
    _check_adapters(where, recipe, arm, adapters)
    wanted = {
        (adapter, measure.key): Wanted(adapter, measure)
        for adapter in adapters
        for measure in (plan.measures[name] for name in plan.measures_of(table))
    }
    for each in wanted.values():
        _check_readable(where, recipe, each)
    return Job(_name(plan, values, arm.train), recipe, arm.train, plan.subset, (*wanted.values(),))


def _name(plan: Plan, values: Values, trained: bool) -> str:
    """The same for equal values in any order, whatever defaults recipes get later."""
    own = {key: value for key, value in values.items() if key != "seed"}
    subset = None if plan.subset is None else plan.subset.pairs
    text = json.dumps([own, subset], sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"{digest}-seed{values['seed']}" + ("" if trained else "-untrained")


def _check_adapters(where: str, recipe: Recipe, arm: Arm, adapters: tuple[str, ...]) -> None:
    known = [PLAIN, *(recipe.served if arm.train else recipe.adapters)]
    if unknown := [name for name in adapters if name not in known]:
        raise TrainingError(
            f"{where}: it is to be measured through {', '.join(unknown)}; "
            f"there are {', '.join(known)}"
        )


def _check_readable(where: str, recipe: Recipe, wanted: Wanted) -> None:
    task = TASKS[wanted.measure.task]
    served = recipe.served.get(wanted.adapter)
    if served is None or served.granularity is not Granularity.WORD:
        return
    if task.granularities != (Granularity.WORD,):
        raise TrainingError(
            f"{where}: {wanted.adapter} is for token states, and {task.name} reads whole texts; "
            "measure word-alignment through it"
        )


def _joined(one: Job, other: Job) -> Job:
    """The same run, with what either wants of it."""
    wanted = {(each.adapter, each.measure.key): each for each in (*one.wanted, *other.wanted)}
    return replace(one, wanted=tuple(wanted.values()))
