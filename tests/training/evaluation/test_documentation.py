"""What docs/evaluation.md says of the suite is so."""

from __future__ import annotations

import re
from pathlib import Path

from training.evaluation.languages import CORE_WITHOUT_ENGLISH
from training.evaluation.scores import Scores, SystemScores, TaskScores
from training.evaluation.tasks import TASKS, mining
from training.evaluation.tasks.sts import NINE

DOCUMENT = (Path(__file__).parents[3] / "docs/evaluation.md").read_text(encoding="utf-8")
ONE_LINE = " ".join(DOCUMENT.split())


def test_the_table_lists_every_task_with_its_main_figure() -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (.+?) \|", DOCUMENT, re.MULTILINE)
    expected = [
        (name, task.main.label + (" ↓" if task.main.lower_is_better else ""))
        for name, task in TASKS.items()
    ]
    assert [row for row in rows if row[0] in TASKS] == expected


def test_the_further_figures_are_named() -> None:
    for name, task in TASKS.items():
        row = next(line for line in DOCUMENT.splitlines() if line.startswith(f"| `{name}` |"))
        for figure in task.figures[1:]:
            assert figure.label.removeprefix("AER, ").replace("match", "matching") in row


def test_the_languages_of_the_means_are_listed() -> None:
    assert f" {' '.join(CORE_WITHOUT_ENGLISH)}. " in ONE_LINE
    assert f" over {' '.join(NINE)}. " in ONE_LINE


def test_numbers_that_the_code_holds() -> None:
    assert f"{mining.DISTRACTORS:,} English texts" in ONE_LINE


def test_every_field_of_the_file_is_named() -> None:
    for kind in (Scores, TaskScores, SystemScores):
        for field in kind.model_fields:
            assert f"`{field}`" in DOCUMENT
