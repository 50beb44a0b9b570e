"""An ablation's report as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from training.ablation import tables
from training.ablation.claims import RULE, Verdict
from training.ablation.markdown import SPREAD, luck
from training.ablation.plan import Plan
from training.ablation.plot import Row, dots
from training.ablation.results import Marked, TableResult
from training.ablation.tables import Cell, Grid
from training.evaluation.report.document import document, wide

_CLASS = {str(Verdict.REPRODUCED): "good", str(Verdict.CONTRADICTED): "bad"}


def page(plan: Plan, results: Sequence[TableResult], notes: Sequence[str] = ()) -> str:
    """The whole page: every table with its plots, claims, costs and failures; `notes` say what was
    run, and where."""
    parts = [f"<h1>{escape(plan.title)}</h1>"]
    parts += [_paragraph(plan.about), _list(notes)]
    parts += [_paragraph(text) for text in (SPREAD, RULE, luck(plan))]
    for result in results:
        parts += _table(plan, result)
    return document(plan.title, parts)


def _table(plan: Plan, result: TableResult) -> list[str]:
    parts = [f"<h2>{escape(result.table.title)}</h2>"]
    parts.append(_paragraph(result.table.about))
    parts.append(_grid(tables.main_grid(plan, result)))
    parts.append(_list([*tables.measured_by(plan, result), *tables.papers(result)]))
    for measure in result.measures:
        rows = [
            Row(row, _dots(result, row, measure), result.spread(row, measure))
            for row in result.table.rows
        ]
        title = f"{result.table.title}: {tables.head_of(plan, measure)}"
        parts.append(f"<p>{escape(tables.head_of(plan, measure))}</p>" + wide(dots(rows, title)))
    for arm, matrix in tables.matrices(plan, result).items():
        parts.append(f"<p>Tasks × adapters, {escape(arm)}</p>{_grid(matrix)}")
    if result.claims:
        parts.append(_grid(tables.claims_grid(result)))
        parts += [_comparisons(plan, marked) for marked in result.claims]
    if failed := tables.failures(result):
        parts.append(f'<p class="bad">Failed:</p>{_list(failed)}')
    cost = _grid(tables.cost_grid(plan, result))
    folders = [
        f"{arm}: {', '.join(found.runs.values()) or 'no run yet'}"
        for arm, found in result.arms.items()
    ]
    parts.append(
        "<details><summary>What this took, and where the runs are</summary>"
        f"{_paragraph(tables.total_cost(result))}{cost}{_list(folders)}</details>"
    )
    return parts


def _dots(result: TableResult, row: str, measure: str) -> list[float]:
    values = list(result.values[row].get(measure, {}).values())
    return values[:1] if result.arms[result.table.rows[row][1]].seedless else values


def _comparisons(plan: Plan, marked: Marked) -> str:
    mark = _marked(str(marked.verdict))
    grid = _grid(tables.comparisons_grid(plan, marked))
    return f"<details><summary>{escape(marked.claim.says)}: {mark}</summary>{grid}</details>"


def _grid(table: Grid) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in table.head)
    rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in table.rows)
    return wide(f"<table><tr>{head}</tr>{rows}</table>")


def _cell(cell: Cell) -> str:
    text = _marked(cell.text)
    return f"<td><strong>{text}</strong></td>" if cell.is_best else f"<td>{text}</td>"


def _marked(text: str) -> str:
    """A verdict in its colour; any other text as it is."""
    name = _CLASS.get(text)
    return f'<span class="{name}">{escape(text)}</span>' if name else escape(text)


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>" if text else ""


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""
