"""The body of `polygrain-train ablate`: run a plan, or say what running it would take."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from training.ablation.jobs import Choice, Runs, expand
from training.ablation.markdown import as_markdown
from training.ablation.measuring import EvaluationSets
from training.ablation.page import page
from training.ablation.plan import Plan
from training.ablation.results import TableResult, collect, machines
from training.ablation.runner import RUNS, Estimate, Place, estimate, run_jobs
from training.errors import TrainingError
from training.evaluation.table import grid
from training.files import replace

Say = Callable[[str], None]


def parse_inputs(given: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` texts as a dict; TrainingError for another form or a name twice."""
    found: dict[str, str] = {}
    for each in given:
        name, separator, value = each.partition("=")
        if not separator or not name or name in found:
            raise TrainingError(f"--input is {each!r}; give NAME=VALUE, each name once")
        found[name] = value
    return found


def ablate(
    plan_file: Path, inputs: Mapping[str, str], choice: Choice, place: Place, note: Say
) -> None:
    """Train and measure what a plan needs and is not done yet. After each run the report is written
    anew beside the runs, as Markdown, HTML and JSON, under the plan's name.

    Raises TrainingError where the plan or what it is run on is wrong, before anything is trained.
    """
    plan = Plan.read(plan_file)
    runs = expand(plan, inputs, choice)
    test_sets = EvaluationSets(place.corpus.evaluation)
    estimates = estimate(runs.jobs, place, test_sets)
    for _ in run_jobs(estimates, place, test_sets):
        _report(plan_file.stem, plan, runs, place.folder, inputs)
    for file in _report(plan_file.stem, plan, runs, place.folder, inputs):
        note(f"wrote {file}")


def preview(
    plan_file: Path,
    inputs: Mapping[str, str],
    choice: Choice,
    place: Place,
    tokens_per_s: float,
) -> str:
    """What `ablate` would train and measure, and roughly how long it would take, as Markdown."""
    plan = Plan.read(plan_file)
    runs = expand(plan, inputs, choice)
    found = {
        each.job.name: each
        for each in estimate(runs.jobs, place, EvaluationSets(place.corpus.evaluation))
    }
    lines, rows = [], []
    for name, table in plan.tables.items():
        own: dict[str, Estimate] = {}
        for arm in table.arms:
            if not choice.takes(name, arm):
                continue
            jobs = {job: found[job] for job in runs.of[name, arm].values()}
            own |= jobs
            first = next(iter(jobs.values()))
            rows.append(
                [
                    f"{name}, {arm}",
                    f"{len(jobs)} ({sum(each.is_done for each in jobs.values())} done)",
                    f"{first.training.steps:,}",
                    f"{first.training.texts:,}",
                    f"{first.measured_texts:,}",
                    f"{first.tokens / 1e6:.1f} M",
                ]
            )
        if own:
            lines.append(f"{name}: {_hours(list(own.values()), tokens_per_s)}")
    head = ["arm", "runs", "steps a run", "texts trained on", "texts measured", "tokens, about"]
    total = _hours(list(found.values()), tokens_per_s)
    shared = "a run that tables share is trained once"
    return "\n\n".join([grid(head, rows), *lines, f"all, {shared}: {total}"])


def _hours(estimates: Sequence[Estimate], tokens_per_s: float) -> str:
    left = sum(each.tokens for each in estimates if not each.is_done)
    return (
        f"{len(estimates)} runs, about {left / 1e6:.0f} M tokens to go, "
        f"{left / tokens_per_s / 3600:.1f} hours at {tokens_per_s:,.0f} tokens/s"
    )


def _report(
    stem: str, plan: Plan, runs: Runs, folder: Path, inputs: Mapping[str, str]
) -> list[Path]:
    results = collect(plan, runs, folder / RUNS)
    notes = _notes(plan, inputs, machines(runs, folder / RUNS))
    texts = {
        "md": as_markdown(plan, results, notes),
        "html": page(plan, results, notes),
        "json": json.dumps(as_json(plan, results), indent=1, ensure_ascii=False) + "\n",
    }
    files = []
    for suffix, text in texts.items():
        file = folder / f"{stem}.{suffix}"
        replace(file, partial(_write, text))
        files.append(file)
    return files


def _notes(plan: Plan, inputs: Mapping[str, str], trained_on: Sequence[str]) -> list[str]:
    """What was run, and where."""
    given = {name: inputs.get(name, each.default) for name, each in plan.inputs.items()}
    pairs = "the whole corpus"
    if plan.subset is not None:
        pairs = f"at most {plan.subset.pairs:,} pairs of each language and granularity"
    return [
        f"seeds: {', '.join(map(str, plan.seeds))}",
        f"trained on: {pairs}",
        *(f"{name}: {value or 'not given'}" for name, value in given.items()),
        *(f"trained by: {each}" for each in trained_on),
    ]


def _write(text: str, file: Path) -> None:
    file.write_text(text, encoding="utf-8")


def as_json(plan: Plan, results: Sequence[TableResult]) -> dict[str, Any]:
    """The results for programs: by table, the percent of every row, measure and seed, the marks of
    claims with the differences behind them, failures, and the folders of the runs."""
    return {
        "format_version": 1,
        "title": plan.title,
        "tables": {
            result.name: {
                "values": result.values,
                "claims": [
                    {
                        "says": marked.claim.says,
                        "verdict": str(marked.verdict),
                        "comparisons": [
                            {
                                **finding.comparison._asdict(),
                                "differences": finding.differences,
                                "verdict": str(finding.verdict),
                            }
                            for finding in marked.findings
                        ],
                    }
                    for marked in result.claims
                ],
                "failures": {arm: found.failures for arm, found in result.arms.items()},
                "runs": {arm: list(found.runs.values()) for arm, found in result.arms.items()},
            }
            for result in results
        },
    }
