"""An ablation's report as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from training.ablation import tables
from training.ablation.claims import RULE, chance
from training.ablation.plan import Plan
from training.ablation.results import TableResult
from training.ablation.tables import Grid
from training.evaluation.table import grid

SPREAD = (
    "Figures are in percent: the mean over seeds ± their standard deviation; no ± where no seed "
    "enters, or one was measured. The best mean of a column in bold; ↓: less is better. A paper's "
    "figures are of other models and data: read their order, not their height."
)


def luck(plan: Plan) -> str:
    """How much of what is marked may be luck, in a sentence; empty for fewer than two seeds."""
    if len(plan.seeds) < 2:
        return ""
    share = 100 * chance(len(plan.seeds))
    return (
        f"By this rule, {len(plan.seeds)} seeds mark a comparison of two arms that are truly alike "
        f"reproduced {share:.0f} times in a hundred, and contradicted as often, where differences "
        "are normal: of many marks, some are luck."
    )


def as_markdown(plan: Plan, results: Sequence[TableResult], notes: Sequence[str] = ()) -> str:
    """Every table, its claims and what it took; `notes` say what was run, and where."""
    parts = [f"# {plan.title}", plan.about, _list(notes), SPREAD, RULE, luck(plan)]
    for result in results:
        parts += _table(plan, result)
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(plan: Plan, result: TableResult) -> list[str]:
    parts = [f"## {result.table.title}", result.table.about, _grid(tables.main_grid(plan, result))]
    parts.append(_list([*tables.measured_by(plan, result), *tables.papers(result)]))
    for arm, matrix in tables.matrices(plan, result).items():
        parts += [f"Tasks × adapters, {arm}", _grid(matrix)]
    if result.claims:
        parts.append(_grid(tables.claims_grid(result)))
        for marked in result.claims:
            parts += [f"“{marked.claim.says}”", _grid(tables.comparisons_grid(plan, marked))]
    if failed := tables.failures(result):
        parts += ["Failed:", _list(failed)]
    return [*parts, tables.total_cost(result), _grid(tables.cost_grid(plan, result))]


def _grid(table: Grid) -> str:
    rows = [
        [f"**{cell.text}**" if cell.is_best else cell.text for cell in row] for row in table.rows
    ]
    return grid(table.head, rows)


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {' '.join(line.split())}" for line in lines)
