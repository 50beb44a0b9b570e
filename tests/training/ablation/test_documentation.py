"""docs/ablations.md says what is so."""

from __future__ import annotations

import re
from pathlib import Path

from training.ablate_cli import ablate_command
from training.ablation.claims import STANDARD_ERRORS, Verdict, chance
from training.ablation.jobs import Choice, expand
from training.ablation.plan import Plan

REPOSITORY = Path(__file__).parents[3]
TEXT = (REPOSITORY / "docs/ablations.md").read_text(encoding="utf-8")


def test_the_example_is_a_plan_whose_arms_are_recipes(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.+?)```", TEXT, re.DOTALL)
    file = tmp_path / "plan.toml"
    file.write_text(example, encoding="utf-8")
    plan = Plan.read(file)
    runs = expand(plan, {"backbone": "there"}, Choice())
    assert len(runs.jobs) == 1 + 3 + 3
    temperatures = [
        job.recipe.adapters["sentence"].temperature
        for job in runs.jobs
        if job.trained and job.recipe.seed == 1
    ]
    assert temperatures == [0.02, 0.1]


def test_the_table_names_every_plan_and_all_its_tables() -> None:
    rows = re.findall(r"^\| `(\w+)\.toml` \| (.+?) \|", TEXT, re.MULTILINE)
    files = {f.stem: f for f in (REPOSITORY / "training/recipes/ablations").glob("*.toml")}
    assert sorted(name for name, _ in rows) == sorted(files)
    # What a table compares is named by one of its words.
    words = {
        "objectives": "CL+MLM",
        "soft": "Priority",
        "negatives": "GradCache",
        "direction": "one way or both",
        "temperature": "temperature",
        "languages": "languages of a batch",
        "width": "reduction factor",
        "kind": "Houlsby",
        "noise": "augmentation",
        "words": "aligner",
        "swahili": "weak language",
        "latin": "weak language",
    }
    for name, described in rows:
        for table in Plan.read(files[name]).tables:
            assert words[table] in described, (name, table)


def test_options_and_marks_are_those_of_the_program() -> None:
    known = {option for each in ablate_command.params for option in each.opts}
    assert set(re.findall(r"--[a-z-]+", TEXT.split("## The plans")[0])) <= known
    marks = re.findall(r"^\| ([a-z ]+) \| (?:all|else|fewer)", TEXT, re.MULTILINE)
    assert marks == [
        str(each)
        for each in (
            Verdict.REPRODUCED,
            Verdict.CONTRADICTED,
            Verdict.NOT_REPRODUCED,
            Verdict.NOT_MEASURED,
        )
    ]
    assert STANDARD_ERRORS == 2
    assert f"marks {100 * chance(3):.0f} comparisons of a hundred" in " ".join(TEXT.split())
