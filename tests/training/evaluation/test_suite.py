"""The whole suite on tiny test sets, with an encoder that understands through some adapters."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.training.evaluation.eval_sets import FakeEncoder, write_all
from training.errors import TrainingError
from training.evaluation.languages import Languages
from training.evaluation.scores import Scores
from training.evaluation.suite import Selection, choose_tasks, evaluate
from training.evaluation.tasks import TASKS

ALL = Languages(None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(tmp_path_factory.mktemp("eval"))


def _headline(scores: Scores, task: str, system: str) -> float:
    found = scores.tasks[task]
    return found.value(found.systems[system])


def test_every_task_through_every_adapter_each_text_once(folder: Path) -> None:
    encoder = FakeEncoder(frozenset({"sentence"}))
    scores = evaluate(encoder, folder, Selection(languages=ALL), "bundle")
    assert list(scores.tasks) == list(TASKS)
    assert scores.skipped == {}
    assert scores.systems == ["none", "phrase", "sentence", "paragraph", "routed"]
    assert max(Counter(encoder.encoded).values()) == 1
    # Two sides of one language; what is routed goes where the sentence adapter went before.
    assert Counter(encoder.read_words) == dict.fromkeys((None, *encoder.model.adapters), 2)
    for name, task in scores.tasks.items():
        if name not in ("word-alignment", "sts-english"):
            best, worst = _headline(scores, name, "sentence"), _headline(scores, name, "none")
            assert best == (0 if task.lower_is_better else 100)
            assert abs(best - worst) > 5
    assert (scores.model.name, scores.model.version, scores.model.read_from) == (
        "fake",
        "1.2.3",
        "bundle",
    )


def test_routed_sends_each_side_to_its_own_adapter(folder: Path) -> None:
    scores = evaluate(
        FakeEncoder(frozenset({"sentence", "paragraph"})),
        folder,
        Selection(languages=ALL),
        "bundle",
    )
    assert _headline(scores, "tatoeba", "routed") == 100
    assert _headline(scores, "xquad-paragraphs", "routed") == 100
    assert _headline(scores, "xquad-questions", "routed") == 100
    assert _headline(scores, "dbp15k", "routed") == _headline(scores, "dbp15k", "phrase") < 50
    # A phrase goes through the adapter that understands nothing.
    assert _headline(scores, "phrase-to-paragraph", "routed") < 95


def test_both_sides_are_tried_through_every_pair_of_adapters(folder: Path) -> None:
    scores = evaluate(
        FakeEncoder(frozenset({"phrase", "paragraph"})), folder, Selection(languages=ALL), "bundle"
    )
    names = ("phrase", "sentence", "paragraph")
    assert set(scores.tasks["xquad-questions"].mixed) == {f"{a}+{b}" for a in names for b in names}
    for name, task in scores.tasks.items():
        assert bool(task.mixed) == (len(TASKS[name].granularities) == 2)
        for adapters, found in task.mixed.items():
            one, other = adapters.split("+")
            if "sentence" not in (one, other):
                assert task.value(found) == 100
            if one == other:
                assert (found.means, found.by_pair) == (task.systems[one].means, {})
                assert task.systems[one].by_pair
    task = scores.tasks["phrase-to-paragraph"]
    assert task.mixed["phrase+paragraph"].by_language == task.systems["routed"].by_language


def test_what_cannot_be_measured_is_skipped_with_its_reason(folder: Path) -> None:
    encoder = FakeEncoder(frozenset(), has_plain=False, has_tokens=False)
    selection = Selection(
        choose_tasks(["tatoeba", "dbp15k", "word-alignment"]), Languages.parse(["af"])
    )
    scores = evaluate(encoder, folder, selection, "service")
    assert list(scores.tasks) == ["tatoeba"]
    assert list(scores.tasks["tatoeba"].systems["routed"].by_language) == ["af"]
    assert "none of the languages" in scores.skipped["dbp15k"]
    assert "only a bundle" in scores.skipped["word-alignment"]
    with pytest.raises(TrainingError, match=r"nothing to measure\. dbp15k: its test set has none"):
        evaluate(
            encoder, folder, Selection(choose_tasks(["dbp15k"]), Languages.parse(["af"])), "service"
        )


def test_only_what_is_chosen_is_encoded(folder: Path) -> None:
    encoder = FakeEncoder(frozenset())
    selection = Selection(
        choose_tasks(["xquad-paragraphs"]), Languages.parse(["ru"]), ("paragraph", "routed")
    )
    scores = evaluate(encoder, folder, selection, "bundle")
    assert scores.systems == ["paragraph", "routed"]
    assert {adapter for adapter, _ in encoder.encoded} == {"paragraph"}
    assert len(encoder.encoded) == 24 == scores.tasks["xquad-paragraphs"].texts


def test_a_missing_test_set_is_told_before_anything_is_encoded(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copy(folder / "tatoeba.pairs.tsv.xz", tmp_path)
    encoder = FakeEncoder(frozenset())
    with pytest.raises(
        TrainingError, match=r"stsb_dev\.tsv\.xz; put it there, or leave its task out"
    ):
        evaluate(encoder, tmp_path, Selection(choose_tasks(["tatoeba", "sts"])), "bundle")
    assert encoder.encoded == []


def test_an_unknown_task_is_named_with_those_there_are() -> None:
    with pytest.raises(TrainingError, match="--tasks names nonsense, there; there are tatoeba, "):
        choose_tasks(["tatoeba", "nonsense", "there"])
    assert [task.name for task in choose_tasks(["sts", "tatoeba"])] == ["tatoeba", "sts"]


def test_a_small_cache_changes_no_score(folder: Path) -> None:
    def scores(cache_bytes: int) -> Scores:
        encoder = FakeEncoder(frozenset({"phrase"}))
        return evaluate(encoder, folder, Selection(languages=ALL), "bundle", cache_bytes)

    assert scores(0).tasks == scores(1 << 24).tasks
