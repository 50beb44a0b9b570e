"""`polygrain-train evaluate`, from its options to its files."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from models.bundle import Bundle
from tests.training.evaluation.eval_sets import write_all
from training import cli as program
from training.errors import TrainingError
from training.evaluation.scores import read_scores


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(tmp_path_factory.mktemp("eval"))


def _evaluate(*arguments: object) -> Result:
    command = ["--threads", "1", "evaluate", *map(str, arguments)]
    result = CliRunner().invoke(program.cli, command)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_measured_once_and_shown_again(tiny_bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    out, report, again = (tmp_path / name for name in ("scores.json", "report.html", "again.html"))
    adapters = ("--adapters", "phrase,paragraph,word,routed")
    measured = _evaluate(
        *("--bundle", tiny_bundle.path, "--evaluation", folder, *adapters),
        *("--tasks", "phrase-to-paragraph,word-alignment", "--languages", "de,ru"),
        *("--out", out, "--report", report),
    )
    assert measured.exit_code == 0, measured.output
    assert measured.stderr.splitlines()[-2:] == [f"wrote {out}", f"wrote {report}"]
    head = measured.stdout.splitlines()[0]
    assert head == "|  | phrase adapter | paragraph adapter | routed | word adapter |"
    assert "phrase→paragraph, recall@10: " in measured.stdout.splitlines()[-1]
    scores = read_scores(out)
    assert list(scores.tasks) == ["phrase-to-paragraph", "word-alignment"]
    # The word adapter reads words alone, and routed words go through it.
    systems = {name: set(task.systems) for name, task in scores.tasks.items()}
    assert systems["phrase-to-paragraph"] == {"phrase", "paragraph", "routed"}
    words = scores.tasks["word-alignment"].systems
    assert words["routed"] == words["word"]
    shown = _evaluate("--scores", out, "--report", again, "--compare", out)
    assert shown.stdout == measured.stdout
    assert again.read_text() != report.read_text()
    _evaluate("--scores", out, "--report", again)
    assert again.read_text() == report.read_text()


def test_a_skipped_task_is_told(tiny_bundle: Bundle, folder: Path) -> None:
    shown = _evaluate(
        *("--bundle", tiny_bundle.path, "--evaluation", folder, "--adapters", "sentence"),
        *("--tasks", "tatoeba,dbp15k", "--languages", "af"),
    )
    assert "skipped dbp15k: its test set has none of the languages" in shown.stderr
    assert "| af | " in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give exactly one of --bundle FOLDER, --url of a running service, --scores FILE"),
        (("--bundle", "B", "--url", "http://x"), "give exactly one of"),
        (("--bundle", "B"), "give --evaluation FOLDER"),
        (("--bundle", "B", "--evaluation", "E", "--tasks", "tatoeba,"), "with commas between"),
        (("--bundle", "B", "--evaluation", "E", "--tasks", "x"), "there are tatoeba, xsim"),
        (("--bundle", "B", "--evaluation", "E", "--adapters", "x"), "can be read through"),
        (("--bundle", "B", "--evaluation", "E", "--compare", "S"), "give --report FILE too"),
        (("--scores", "S", "--tasks", "tatoeba"), "leave --evaluation, --out, --tasks"),
        (("--scores", "S", "--evaluation", "E"), "leave --evaluation, --out, --tasks"),
        (("--scores", "S"), "has no `evaluation`"),
        (("--bundle", "B", "--evaluation", "E", "--out", "no/x.json"), "there is no folder no"),
        (("--bundle", "B", "--evaluation", "E", "--report", "no/x"), "there is no folder no"),
        (("--url", "nowhere", "--evaluation", "E"), "give one like http"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    arguments: tuple[str, ...], message: str, tiny_bundle: Bundle, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "S").write_text("{}")
    places = {"B": tiny_bundle.path, "E": folder, "S": tmp_path / "S"}
    with pytest.raises(TrainingError, match=message):
        _evaluate(*(places.get(each, each) for each in arguments))
