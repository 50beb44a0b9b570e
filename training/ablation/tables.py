"""The tables of a report as plain cells, which Markdown and HTML then write each in its way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.ablation.plan import Plan
from training.ablation.results import ArmResult, Marked, Spread, TableResult
from training.evaluation.tasks import TASKS

NOT_RUN = "not run"
FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in a cell."""

    text: str
    # The best of its column.
    is_best: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """A table for people: the first column names the rows."""

    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @classmethod
    def of(cls, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Grid:
        """Of texts alone."""
        return cls(tuple(head), tuple(tuple(map(Cell, row)) for row in rows))


def head_of(plan: Plan, measure: str) -> str:
    """A measure's name, with an arrow where less of it is better."""
    return f"{measure} ↓" if plan.measures[measure].lower_is_better else measure


def shown(spread: Spread) -> str:
    """Like `87.1 ± 0.3`."""
    if spread.deviation is None:
        return f"{spread.mean:.1f}"
    return f"{spread.mean:.1f} ± {spread.deviation:.1f}"


def main_grid(plan: Plan, result: TableResult) -> Grid:
    """Rows × measures, mean ± standard deviation over seeds, the best mean of each measure marked;
    behind them what papers report of the same rows."""
    published = result.table.published
    head = ["", *(head_of(plan, measure) for measure in result.measures)]
    for place, paper in enumerate(published, start=1):
        number = f" {place}" if len(published) > 1 else ""
        head += [f"{column} (paper{number})" for column in paper.columns]
    best = {measure: _best(plan, result, measure) for measure in result.measures}
    rows = []
    for row, (_, arm) in result.table.rows.items():
        cells = [Cell(row)]
        for measure in result.measures:
            spread = result.spread(row, measure)
            text = (
                _absent(result.arms[arm]) if spread is None else _of_all(plan, result, row, spread)
            )
            cells.append(Cell(text, spread is not None and f"{spread.mean:.1f}" == best[measure]))
        for paper in published:
            figures = paper.rows.get(row, (math.nan,) * len(paper.columns))
            cells += [Cell("" if math.isnan(each) else f"{each:g}") for each in figures]
        rows.append(tuple(cells))
    return Grid(tuple(head), tuple(rows))


def matrices(plan: Plan, result: TableResult) -> Mapping[str, Grid]:
    """For each arm measured through several adapters: measures × adapters, the best adapter of each
    measure marked."""
    found = {}
    for arm in result.table.arms:
        rows_of = {
            adapter: row for row, (adapter, each) in result.table.rows.items() if each == arm
        }
        if len(rows_of) < 2:
            continue
        rows = []
        for measure in result.measures:
            spreads = {a: result.spread(row, measure) for a, row in rows_of.items()}
            means = {a: f"{each.mean:.1f}" for a, each in spreads.items() if each is not None}
            best = _extreme(plan, measure, list(means.values()))
            cells = [Cell(head_of(plan, measure))]
            for adapter, spread in spreads.items():
                text = _absent(result.arms[arm]) if spread is None else shown(spread)
                cells.append(Cell(text, spread is not None and means[adapter] == best))
            rows.append(tuple(cells))
        found[arm] = Grid(("", *rows_of), tuple(rows))
    return found


def claims_grid(result: TableResult) -> Grid:
    """Each claim with its mark, and of how many of its comparisons it holds."""
    return Grid.of(
        ["claim", "source", "mark", "comparisons that hold"],
        [
            [
                marked.claim.says,
                marked.claim.source,
                str(marked.verdict),
                f"{_count(marked, 'reproduced')} of {len(marked.findings)}",
            ]
            for marked in result.claims
        ],
    )


def comparisons_grid(plan: Plan, marked: Marked) -> Grid:
    """Every comparison of a claim: the differences by seed, their mean and standard error."""
    rows = []
    for finding in marked.findings:
        values = list(finding.differences.values())
        mean = f"{np.mean(values):+.2f}" if values else ""
        error = f"{np.std(values, ddof=1) / len(values) ** 0.5:.2f}" if len(values) > 1 else ""
        comparison = finding.comparison
        rows.append(
            [
                f"{comparison.better} against {comparison.worse}",
                head_of(plan, comparison.measure),
                " ".join(f"{value:+.2f}" for value in values),
                mean,
                error,
                str(finding.verdict),
            ]
        )
    head = ["rows", "measure", "points in favour, by seed", "mean", "standard error", "mark"]
    return Grid.of(head, rows)


def cost_grid(plan: Plan, result: TableResult) -> Grid:
    """What the runs of each arm took, a run on average. A run that several arms share is counted
    at each."""
    rows = []
    for arm, found in result.arms.items():
        spent = result.spent(arm)
        wanted = 1 if found.seedless else len(plan.seeds)
        cells = [arm, f"{len(spent)} of {wanted}"]
        if spent:
            cells += [
                f"{np.mean([each.steps for each in spent]):,.0f}",
                f"{np.mean([each.texts for each in spent]):,.0f}",
                f"{np.mean([each.training_s for each in spent]):,.0f}",
                f"{np.mean([each.measured_texts for each in spent]):,.0f}",
                f"{np.mean([each.measuring_s for each in spent]):,.0f}",
            ]
        rows.append([*cells, *[""] * (7 - len(cells))])
    head = ["arm", "runs", "steps", "texts trained on", "seconds training"]
    return Grid.of([*head, "texts measured", "seconds measuring"], rows)


def total_cost(result: TableResult) -> str:
    """What all runs of a table took together, in a sentence."""
    spent = result.spent_by_run.values()
    training = sum(each.training_s for each in spent) / 60
    measuring = sum(each.measuring_s for each in spent) / 60
    return (
        f"{len(spent)} runs of this table have taken {training:.0f} minutes of training and "
        f"{measuring:.0f} of measuring, without what loading took; a run on average:"
    )


def failures(result: TableResult) -> list[str]:
    """A line for every run that failed when it was tried last."""
    return [
        f"{arm}, seed {seed}: {reason}"
        for arm, found in result.arms.items()
        for seed, reason in found.failures.items()
    ]


def papers(result: TableResult) -> list[str]:
    """Where the published figures are from."""
    sources = [paper.source for paper in result.table.published]
    if len(sources) == 1:
        return [f"paper: {sources[0]}"]
    return [f"paper {place}: {source}" for place, source in enumerate(sources, start=1)]


def measured_by(plan: Plan, result: TableResult) -> list[str]:
    """What each measure is: task, figure, languages."""
    lines = []
    for name in result.measures:
        measure = plan.measures[name]
        task = TASKS[measure.task]
        label = next(each.label for each in task.figures if each.name == measure.figure_name)
        over = f", {result.over[name]}" if name in result.over else ""
        languages = " ".join(measure.languages)
        noise = "" if measure.noise is None else f", texts with {measure.noise} at {measure.rate:g}"
        lines.append(f"{name}: {task.title}, {label}{over} ({languages}){noise}")
    return lines


def _best(plan: Plan, result: TableResult, measure: str) -> str | None:
    spreads = [result.spread(row, measure) for row in result.table.rows]
    return _extreme(plan, measure, [f"{each.mean:.1f}" for each in spreads if each is not None])


def _extreme(plan: Plan, measure: str, values: Sequence[str]) -> str | None:
    """The best of values as shown: what reads alike is as good."""
    pick = min if plan.measures[measure].lower_is_better else max
    return pick(values, key=float) if values else None


def _of_all(plan: Plan, result: TableResult, row: str, spread: Spread) -> str:
    """The spread, with the number of seeds where some are lacking."""
    seedless = result.arms[result.table.rows[row][1]].seedless
    if seedless or spread.count == len(plan.seeds):
        return shown(spread)
    return f"{shown(spread)} ({spread.count} of {len(plan.seeds)} seeds)"


def _absent(arm: ArmResult) -> str:
    return FAILED if arm.failures else NOT_RUN


def _count(marked: Marked, verdict: str) -> int:
    return sum(finding.verdict == verdict for finding in marked.findings)
