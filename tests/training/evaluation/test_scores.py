"""`scores.json`: what is written is what is read, and what is wrong is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.training.evaluation.eval_sets import FakeEncoder, write_all
from training.errors import TrainingError
from training.evaluation.languages import Languages
from training.evaluation.scores import Scores, as_scores, read_scores, write_scores
from training.evaluation.suite import Selection, evaluate
from training.evaluation.table import as_markdown, routing_gains


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Scores:
    folder = write_all(tmp_path_factory.mktemp("eval"))
    encoder = FakeEncoder(frozenset({"phrase", "paragraph"}))
    return evaluate(encoder, folder, Selection(languages=Languages(None)), "bundle")


def test_what_is_written_is_read_again(scores: Scores, tmp_path: Path) -> None:
    write_scores(scores, tmp_path / "scores.json")
    assert read_scores(tmp_path / "scores.json") == scores
    assert [file.name for file in tmp_path.iterdir()] == ["scores.json"]


def test_the_derived_tables_say_the_same(scores: Scores) -> None:
    document = as_scores(scores)
    assert list(document) == ["figures", "adapter_by_task", "by_language", "evaluation"]
    assert document["figures"]["sts"] == "Spearman × 100, percent, mean of the 9 languages"
    for system, row in document["by_language"].items():
        for name, by_language in row.items():
            full = document["evaluation"]["tasks"][name]
            main = next(iter(full["figures"]))
            scored = full["systems"][system]["by_language"]
            assert by_language == {language: each[main] for language, each in scored.items()}
            over = next(iter(full["systems"][system]["means"]))
            headline = document["adapter_by_task"][system][name]
            assert headline == full["systems"][system]["means"][over][main]
            # The card's table, which is made of the languages, shows the same digits.
            row_of_card = next(
                line
                for line in as_markdown(document["by_language"]).splitlines()
                if line.startswith(f"| {full['title']}, ")
            )
            assert f"{headline:.1f}" in row_of_card


def test_the_gain_of_routing_is_over_the_best_single_adapter(scores: Scores) -> None:
    gain = {line.split(",")[0]: line for line in routing_gains(scores)}
    assert set(gain) == {"XQuAD question→paragraph", "phrase→paragraph"}
    # One adapter that understands both sides is as good as two.
    assert gain["phrase→paragraph"] == (
        "phrase→paragraph, recall@10: 100.0 with each side through its own adapter, 100.0 with the "
        "best single one (phrase): +0.0"
    )
    task = scores.tasks["xquad-questions"]
    routed = task.value(task.systems["routed"])
    assert f"{routed:.1f} with each side" in gain["XQuAD question→paragraph"]
    assert gain["XQuAD question→paragraph"].endswith(f": {routed - 100:+.1f}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("evaluation"), "is not what `evaluate --out` writes"),
        (lambda d: d["evaluation"].update(format_version=2), "evaluation.format_version: "),
        (lambda d: d["evaluation"].update(tasks={}), "evaluation.tasks: "),
        (
            lambda d: d["evaluation"]["tasks"]["sts"].update(texts="many"),
            "evaluation.tasks.sts.texts: .*evaluate the bundle again",
        ),
        (lambda d: d["evaluation"].update(more=1), "evaluation.more: "),
        (
            lambda d: d["evaluation"]["tasks"]["sts"]["systems"]["none"].update(means={}),
            "means: ",
        ),
        (
            lambda d: d["evaluation"]["tasks"]["sts"]["systems"]["none"].update(
                means={"mean of 1": {"hits": 1.0}}
            ),
            "none lacks",
        ),
    ],
)
def test_a_file_that_is_not_right_is_refused(
    scores: Scores, change: object, message: str, tmp_path: Path
) -> None:
    document = json.loads(json.dumps(as_scores(scores)))
    change(document)  # type: ignore[operator]
    file = tmp_path / "scores.json"
    file.write_text(json.dumps(document))
    with pytest.raises(TrainingError, match=message):
        read_scores(file)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff"])
def test_a_file_that_is_no_json_object_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_bytes(content)
    with pytest.raises(TrainingError, match=r"scores\.json"):
        read_scores(tmp_path / "scores.json")
