"""The tables that the terminal and a model card show."""

from __future__ import annotations

from training.evaluation.languages import CORE_WITHOUT_ENGLISH
from training.evaluation.scores import FigureInfo, ModelInfo, Scores, SystemScores, TaskScores
from training.evaluation.table import as_markdown, further_figures, shown_system

TABLE = {
    "none": {"dbp15k": {"fr": 10.0, "ja": 0.0}, "word-alignment": {"cs": 40.0}},
    "phrase": {"dbp15k": {"fr": 60.0, "ja": 20.0}, "word-alignment": {"cs": 30.04}},
    "sentence": {"dbp15k": {"fr": 30.0, "ja": 50.0}},
    "routed": {"dbp15k": {"fr": 60.0, "ja": 20.0}, "word-alignment": {"cs": 30.0}},
}


def test_rows_are_tasks_with_the_best_in_bold_ties_as_shown_included() -> None:
    lines = as_markdown(TABLE).splitlines()
    assert lines[0] == ("|  | no adapter | phrase adapter | sentence adapter | routed |")
    assert lines[2] == "| DBP15K names, Hit@1, mean of 2 | 5.0 | **40.0** | **40.0** | **40.0** |"
    # Less is better, and a system that has not the task has an empty cell.
    assert (
        lines[3] == "| Word alignment, AER, argmax ↓, mean of 1 | 40.0 | **30.0** |  | **30.0** |"
    )


def test_languages_are_shown_through_the_routed_system() -> None:
    lines = as_markdown(TABLE).splitlines()
    start = lines.index("By language, routed")
    assert lines[start + 2 :] == [
        "|  | DBP15K names, Hit@1 | Word alignment, AER, argmax ↓ |",
        "|---|---|---|",
        "| cs |  | 30.0 |",
        "| fr | 60.0 |  |",
        "| ja | 20.0 |  |",
    ]
    assert shown_system(["none", "sentence"]) == "sentence"


def test_the_headline_is_over_the_thirty_languages_once_all_are_there() -> None:
    by_language = dict.fromkeys(CORE_WITHOUT_ENGLISH, 50.0) | {"af": 90.0}
    whole = as_markdown({"sentence": {"tatoeba": by_language}})
    assert "| Tatoeba, accuracy, mean of the 30 languages | **50.0** |" in whole
    del by_language["sw"]
    part = as_markdown({"sentence": {"tatoeba": by_language}})
    assert f"| Tatoeba, accuracy, mean of 29 | **{(28 * 50 + 90) / 29:.1f}** |" in part


def test_a_task_of_another_version_of_the_suite_is_shown_by_its_name() -> None:
    lines = as_markdown({"sentence": {"Tatoeba of old": {"de": 50.0, "fr": 40.0}}}).splitlines()
    assert lines[2] == "| Tatoeba of old, mean of 2 | **45.0** |"


def test_figures_beside_the_headlines_or_nothing() -> None:
    language = {"hit_at_1": 40.0, "mrr": 50.04}
    scored = SystemScores(means={"mean of 1": language}, by_language={"fr": language}, by_pair={})
    labels = {"hit_at_1": "Hit@1", "mrr": "MRR"}
    task = TaskScores(
        title="DBP15K names",
        about="",
        granularities=("phrase",),
        texts=2,
        figures={n: FigureInfo(label=v, lower_is_better=False) for n, v in labels.items()},
        systems={"phrase": scored, "routed": scored},
        mixed={},
    )
    model = ModelInfo(name="m", version="1.0.0", dimension=2, read_from="bundle")
    scores = Scores(
        format_version=1, model=model, measured_at="now", tasks={"dbp15k": task}, skipped={}
    )
    assert further_figures(scores).splitlines()[2:] == [
        "| DBP15K names | MRR | mean of 1 | 50.0 | 50.0 |"
    ]
    alone = {"hit_at_1": 40.0}
    only = SystemScores(means={"mean of 1": alone}, by_language={"fr": alone}, by_pair={})
    task = TaskScores(
        **task.model_dump(exclude={"figures", "systems"}),
        figures={"hit_at_1": FigureInfo(label="Hit@1", lower_is_better=False)},
        systems={"phrase": only},
    )
    assert further_figures(scores.model_copy(update={"tasks": {"dbp15k": task}})) == ""
