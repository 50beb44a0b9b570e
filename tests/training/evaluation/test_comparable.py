from __future__ import annotations

import pytest

from training.evaluation.comparable import comparable
from training.evaluation.scores import FigureInfo, ModelInfo, Scores, SystemScores, TaskScores

ROUTING = {"phrase": "names", "sentence": "lines", "paragraph": "blocks"}


def _task(granularities: tuple[str, str], lower: bool = False, **mixed: float) -> TaskScores:
    def scored(value: float) -> SystemScores:
        return SystemScores(means={"all": {"main": value}}, by_language={}, by_pair={})

    return TaskScores(
        title="t",
        about="a",
        granularities=granularities,
        texts=1,
        figures={"main": FigureInfo(label="m", lower_is_better=lower)},
        systems={"routed": scored(1.0)},
        mixed={name.replace("__", "+"): scored(value) for name, value in mixed.items()},
    )


def _scores(**tasks: TaskScores) -> Scores:
    model = ModelInfo(name="m", version="1.0.0", dimension=2, read_from="bundle")
    return Scores(
        format_version=1, model=model, measured_at="2026-11-20T00:00:00Z", tasks=tasks, skipped={}
    )


@pytest.mark.parametrize(
    ("together", "lower", "holds"),
    [(50.0, False, True), (49.9, False, False), (30.0, True, True), (30.1, True, False)],
)
def test_two_adapters_must_be_no_worse_than_the_best_single_one(
    together: float, lower: bool, holds: bool
) -> None:
    task = _task(
        ("phrase", "paragraph"),
        lower,
        names__blocks=together,
        blocks__names=99.0,
        names__names=30.0,
        blocks__blocks=40.0,
        lines__lines=50.0,
    )
    expected = (("names", "blocks"),) if holds else ()
    assert comparable(_scores(search=task), ROUTING) == expected


def test_one_task_that_speaks_against_it_is_enough() -> None:
    good = _task(("sentence", "paragraph"), lines__blocks=2.0, lines__lines=1.0)
    bad = _task(("paragraph", "sentence"), blocks__lines=0.5, lines__lines=1.0)
    assert comparable(_scores(one=good), ROUTING) == (("lines", "blocks"),)
    assert comparable(_scores(one=good, other=bad), ROUTING) == ()


def test_what_no_task_measured_is_not_comparable() -> None:
    unmixed = _task(("phrase", "paragraph"))
    other = _task(("phrase", "paragraph"), lines__blocks=9.0, lines__lines=1.0)
    assert comparable(_scores(one=unmixed, other=other), ROUTING) == ()
    one_adapter = _task(("phrase", "paragraph"), lines__lines=1.0)
    assert comparable(_scores(one=one_adapter), dict.fromkeys(ROUTING, "lines")) == ()
