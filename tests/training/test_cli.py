from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from models.bundle import Bundle
from tests.tiny_training import PAIRS_HEADER, RecipeWriter, sentence, write_xz
from training import cli as program
from training.corpora.table import read_report
from training.run import read_run


def _write_test_sets(folder: Path) -> None:
    """The Tatoeba test and the XQuAD paragraphs, three rows each."""
    tatoeba: list[tuple[str, ...]] = [PAIRS_HEADER]
    for number in range(3):
        row = ("t", "sentence", f"deu.{number}", "en", "deu")
        tatoeba.append((*row, sentence("en", number, 6), sentence("de", number, 6)))
    write_xz(folder / "tatoeba.pairs.tsv.xz", tatoeba)
    paragraphs = [("id", "lang", "text")]
    for number in range(3):
        for language in ("en", "fr"):
            paragraphs.append((f"p{number}", language, sentence(language, number, 20)))
    write_xz(folder / "xquad_contexts.paragraph.wide.tsv.xz", paragraphs)


def test_train_export_evaluate_and_export_with_scores_from_the_command_line(
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
    candidate = Bundle.open(out).manifest
    assert (candidate.name, candidate.scores) == ("tiny", {})
    _write_test_sets(tmp_path / "sets")
    scores = tmp_path / "scores.json"
    evaluated = CliRunner().invoke(
        program.cli,
        [
            *("--threads", "1", "evaluate", "--bundle", str(out), "--out", str(scores)),
            *("--evaluation", str(tmp_path / "sets"), "--tasks", "tatoeba,xquad-paragraphs"),
        ],
        catch_exceptions=False,
    )
    table = evaluated.stdout.split("\n\n")[0]
    head, _, *rows = table.splitlines()
    columns = ["", "no adapter", *(f"{each} adapter" for each in candidate.routing), "routed"]
    assert head == "| " + " | ".join(columns) + " |"
    assert [row.split(",")[0] for row in rows] == ["| Tatoeba", "| XQuAD paragraphs"]
    final = tmp_path / "final"
    again = [str(final) if argument == str(out) else argument for argument in export]
    again += ["--scores", str(scores)]
    CliRunner().invoke(program.cli, again, catch_exceptions=False)
    shipped = Bundle.open(final)
    # What was measured is what is shipped, to the byte.
    assert shipped.manifest.files["encoder.onnx"] == candidate.files["encoder.onnx"]
    assert shipped.manifest.scores == json.loads(scores.read_text())
    assert table in shipped.file("MODEL_CARD.md").read_text()
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


def test_a_corpus_is_built_shown_and_trained_on(
    bert_folder: Path,
    corpus_folder: Path,
    evaluation_folder: Path,
    write_recipe: RecipeWriter,
    tmp_path: Path,
) -> None:
    table, dropped = tmp_path / "corpus.parquet", tmp_path / "dropped.jsonl"
    command = ["corpus", "build", str(corpus_folder), "--out", str(table), "--licence", "CC0"]
    for wrong in ([], ["--no-evaluation", "--evaluation", str(evaluation_folder)]):
        refused = CliRunner().invoke(program.cli, command + wrong)
        assert "give either --evaluation FOLDER" in str(refused.exception)
    assert not table.exists()
    command += ["--evaluation", str(evaluation_folder), "--dropped", str(dropped)]
    built = CliRunner().invoke(program.cli, command, catch_exceptions=False)
    assert built.exit_code == 0
    report = read_report(table)
    kept = report["sources"]["made"]["kept"]
    read = report["sources"]["made"]["read"]
    assert f"kept {kept:,} of {read:,} rows" in built.stderr
    # Sentence 5 is planted: its English and its ten translations.
    assert report["sources"]["made"]["dropped"]["evaluation"] == 11
    assert sum('"evaluation"' in line for line in dropped.read_text().splitlines()) == 11

    numbers, plots = tmp_path / "stats.json", tmp_path / "plots"
    options = ["--json", str(numbers), "--plots", str(plots), "--top", "3"]
    shown = CliRunner().invoke(
        program.cli, ["corpus", "stats", str(table), *options], catch_exceptions=False
    )
    assert shown.stdout.startswith(f"{kept:,} rows under")
    assert json.loads(numbers.read_text())["rows"] == kept
    assert len(list(plots.glob("*.png"))) == 4

    run = tmp_path / "run"
    trained = CliRunner().invoke(
        program.cli,
        [
            *("adapters", "--recipe", str(write_recipe(bert_folder, steps=1))),
            *("--corpus", str(table), "--evaluation", str(evaluation_folder), "--run", str(run)),
        ],
        catch_exceptions=False,
    )
    assert trained.exit_code == 0
    assert read_run(run)["pairs.phrase"]["ja"] == 60
    assert read_run(run)["pairs.sentence"]["ja"] == 59
