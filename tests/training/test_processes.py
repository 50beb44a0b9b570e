"""Two real processes over gloo train what one process trains."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import distributed
from torch.multiprocessing.spawn import spawn

from tests.tiny_training import RecipeWriter
from training import adapters, processes
from training.metrics import read_metrics
from training.recipe import Recipe
from training.run import read_run
from training.trainer import Corpus, finished_adapter, train

NAMES = ("phrase", "sentence", "paragraph")
OBJECTIVES = {
    "phrase": "gradient_cache = true\nanchor = 0.5\n",
    "sentence": "objectives = { info_nce = 1.0, tcm_average = 0.5 }\nstart_from = 'phrase'\n",
    "paragraph": "accumulation_steps = 2\n",
}


def work(rank: int, recipe: str, corpus: Corpus, folder: str) -> None:
    """What one process does."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meet",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=300),
    )
    told = [processes.place(), processes.is_first(), processes.anyone(rank == 1)]
    told += [processes.anyone(False)]
    train(Recipe.model_validate_json(recipe), corpus, Path(folder) / "run")
    Path(f"{folder}/{rank}.json").write_text(json.dumps(told))
    distributed.destroy_process_group()


def _recipe(file: Path, teacher: Path) -> Recipe:
    text = file.read_text()
    for name, fields in OBJECTIVES.items():
        text = text.replace(f"[adapters.{name}]\n", f"[adapters.{name}]\n{fields}")
    top = f'teacher = "{teacher}"\nmatryoshka_dimensions = [8]\n'
    held_out = "[validation]\npairs = 20\nevery_steps = 2\nkeep_best = true\n"
    file.write_text(top + text + held_out)
    return Recipe.read(file)


def test_two_processes_end_where_one_with_the_joined_batch_does(
    bert_folder: Path,
    student_folder: Path,
    corpus: Corpus,
    write_recipe: RecipeWriter,
    tmp_path: Path,
) -> None:
    recipe = _recipe(write_recipe(bert_folder, steps=3), student_folder)
    train(recipe, corpus, tmp_path / "alone")
    spawn(work, (recipe.model_dump_json(), corpus, str(tmp_path)), nprocs=2)  # type: ignore[no-untyped-call]
    for name in NAMES:
        one, two = (
            adapters.load(finished_adapter(tmp_path / run, name)) for run in ("alone", "run")
        )
        for key, value in one.items():
            assert torch.allclose(two[key], value, atol=1e-4), (name, key)
        alone, together = (
            read_metrics(tmp_path / run / name / "metrics.jsonl") for run in ("alone", "run")
        )
        assert [line["step"] for line in together] == [line["step"] for line in alone]
        for expected, found in zip(alone, together, strict=True):
            for metric in {"loss", "gradient_norm", "validation_loss"} & set(expected):
                assert found[metric] == pytest.approx(expected[metric], rel=1e-3)
    # One of the two keeps the record.
    assert len(read_run(tmp_path / "run")["sessions"]) == 1
    told = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert told == [[0, True, True, False], [1, False, True, False]]


def test_a_process_alone_waits_for_none() -> None:
    processes.wait()
    assert processes.place() == 0
    assert processes.is_first()
    assert processes.anyone(True)
    assert not processes.anyone(False)
