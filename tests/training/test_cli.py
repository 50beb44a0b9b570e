from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from models.bundle import Bundle
from tests.tiny_training import RecipeWriter
from training import cli as program


def test_train_export_and_refuse_to_overwrite_from_the_command_line(
    bert_folder: Path,
    corpus_folder: Path,
    evaluation_folder: Path,
    write_recipe: RecipeWriter,
    tmp_path: Path,
) -> None:
    card = tmp_path / "card.md"
    card.write_text("# $version\n$scores\n")
    run, out = tmp_path / "run", tmp_path / "bundle"
    recipe = write_recipe(Path("nowhere"), steps=2)
    trained = CliRunner().invoke(
        program.cli,
        [
            *("adapters", "--recipe", str(recipe), "--backbone", str(bert_folder)),
            *("--corpus", str(corpus_folder), "--evaluation", str(evaluation_folder)),
            *("--run", str(run)),
        ],
        catch_exceptions=False,
    )
    assert trained.exit_code == 0
    export = [
        *("export", "--run", str(run), "--out", str(out), "--name", "tiny"),
        *("--version", "0.1.0", "--card", str(card), "--corpus", str(corpus_folder)),
    ]
    written = CliRunner().invoke(program.cli, export, catch_exceptions=False)
    assert written.exit_code == 0
    assert "parity: " in written.stderr
    assert Bundle.open(out).manifest.name == "tiny"
    with pytest.raises(FileExistsError, match="never changed"):
        CliRunner().invoke(program.cli, export, catch_exceptions=False)


def _run(*arguments: str, prelude: str = "") -> subprocess.CompletedProcess[str]:
    code = f"{prelude}\nfrom training.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )


def test_an_error_that_a_person_can_mend_is_one_line(
    corpus_folder: Path, evaluation_folder: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "bad.toml"
    recipe.write_text("backbone = 5")
    result = _run(
        *("adapters", "--recipe", str(recipe), "--corpus", str(corpus_folder)),
        *("--evaluation", str(evaluation_folder), "--run", str(tmp_path / "run")),
    )
    assert result.returncode == 1
    assert result.stderr.startswith(f"polygrain-train: recipe {recipe}: backbone: ")
    assert result.stderr.count("\n") == 1


def test_without_torch_it_says_what_to_install() -> None:
    hide = (
        "import importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'torch' else real(name, *rest)"
    )
    result = _run("--help", prelude=hide)
    assert result.returncode == 2
    assert result.stderr == "polygrain-train needs torch: pip install -e '.[cpu,training]'\n"
