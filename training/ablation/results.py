"""What a plan's runs gave, table by table: values by row, measure and seed, and their spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.ablation.claims import Finding, Verdict, find, overall
from training.ablation.jobs import Runs
from training.ablation.plan import Claim, Plan, Table
from training.ablation.scores import RunScores, Spent, read_failure, read_scores
from training.run import RUN_FILE, read_run


@dataclass(frozen=True, slots=True)
class Spread:
    """Values over seeds: their mean and sample standard deviation (n - 1); none of one value."""

    mean: float
    deviation: float | None
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return cls(float(np.mean(values)), deviation, len(values))


@dataclass(frozen=True, slots=True)
class ArmResult:
    """The runs of one arm."""

    # Seed -> what was measured and spent; those that were tried and measured something.
    scores: Mapping[int, RunScores]
    # Seed -> why it failed when it was tried last.
    failures: Mapping[int, str]
    # Whether one run stands for all seeds, since none enters it.
    seedless: bool
    # Seed -> the run's folder, below `runs`.
    runs: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Marked:
    """A claim and what was found of it."""

    claim: Claim
    findings: tuple[Finding, ...]
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class TableResult:
    """A table of the plan, filled."""

    name: str
    table: Table
    measures: tuple[str, ...]
    arms: Mapping[str, ArmResult]
    # row -> measure -> seed -> percent
    values: Mapping[str, Mapping[str, Mapping[int, float]]]
    # Measure -> over which languages its figures are means.
    over: Mapping[str, str]
    claims: tuple[Marked, ...]

    def spread(self, row: str, measure: str) -> Spread | None:
        """Over the seeds that were measured; None where none was. A row that no seed enters is one
        value, however many seeds it is compared with."""
        values = list(self.values[row].get(measure, {}).values())
        if not values:
            return None
        seedless = self.arms[self.table.rows[row][1]].seedless
        return Spread.of(values[:1] if seedless else values)

    def spent(self, arm: str) -> list[Spent]:
        """What each run of an arm took."""
        return [scores.spent for scores in self.arms[arm].scores.values()]

    @property
    def spent_by_run(self) -> dict[str, Spent]:
        """What each run of the table took, by its folder; one that arms share once."""
        return {
            found.runs[seed]: scores.spent
            for found in self.arms.values()
            for seed, scores in found.scores.items()
        }


def collect(plan: Plan, runs: Runs, folder: Path) -> list[TableResult]:
    """Every table of the plan with what its runs in `folder` have measured so far."""
    return [_table(plan, name, table, runs, folder) for name, table in plan.tables.items()]


def machines(runs: Runs, folder: Path) -> list[str]:
    """On what the runs in `folder` were trained, each kind once."""
    found: dict[str, None] = {}
    for name in sorted({name for seeds in runs.of.values() for name in seeds.values()}):
        if (folder / name / RUN_FILE).exists():
            for session in read_run(folder / name)["sessions"]:
                processor = session["gpu"] or f"{session['cpu']}, {session['cpu_threads']} threads"
                found[f"{processor}, torch {session['torch']}"] = None
    return list(found)


def _table(plan: Plan, name: str, table: Table, runs: Runs, folder: Path) -> TableResult:
    arms = {arm: _arm(plan, runs.of.get((name, arm), {}), folder) for arm in table.arms}
    measures = plan.measures_of(table)
    values: dict[str, dict[str, dict[int, float]]] = {}
    over: dict[str, str] = {}
    for row, (adapter, arm) in table.rows.items():
        values[row] = {measure: {} for measure in measures}
        for measure in measures:
            plan_of = plan.measures[measure]
            for seed, scores in arms[arm].scores.items():
                found = scores.measured.get(adapter, {}).get(plan_of.key)
                if found is not None:
                    over[measure] = found.over
                    # One that no seed enters is the same for every seed.
                    for each in plan.seeds if arms[arm].seedless else (seed,):
                        values[row][measure][each] = found.figures[plan_of.figure_name]
    marked = []
    for claim in table.claims:
        findings = tuple(
            find(each, claim, values, plan.measures[each.measure].lower_is_better)
            for each in claim.comparisons
        )
        marked.append(Marked(claim, findings, overall(findings)))
    return TableResult(name, table, measures, arms, values, over, tuple(marked))


def _arm(plan: Plan, names: Mapping[int, str], folder: Path) -> ArmResult:
    scores: dict[int, RunScores] = {}
    failures: dict[int, str] = {}
    for seed, name in names.items():
        found, failure = read_scores(folder / name), read_failure(folder / name)
        if failure is not None:
            failures[seed] = failure.reason
        if found.measured:
            scores[seed] = found
    seedless = len(names) == 1 < len(plan.seeds)
    return ArmResult(scores, failures, seedless, names)
