"""Which adapters' vectors may be compared with each other, by what was measured."""

from __future__ import annotations

from collections.abc import Mapping

from training.evaluation.scores import Scores, SystemScores, TaskScores


def comparable(scores: Scores, routing: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The pairs of adapters that share a space: in every task whose two sides they take, finding
    through both together is no worse than through the best single adapter for both sides.

    `routing` is granularity → adapter. A pair that no task measured is not in it.
    """
    verdicts: dict[tuple[str, str], bool] = {}
    for task in scores.tasks.values():
        if not task.mixed or len(task.granularities) != 2:
            continue
        query, text = (routing.get(granularity) for granularity in task.granularities)
        together = task.mixed.get(f"{query}+{text}")
        if query is None or text is None or query == text or together is None:
            continue
        # A model's order of adapters, whichever side each was on.
        order = list(routing.values())
        one, other = sorted((query, text), key=order.index)
        holds = _value(task, together) >= _best_single(task)
        verdicts[one, other] = verdicts.get((one, other), True) and holds
    return tuple(pair for pair, holds in verdicts.items() if holds)


def _best_single(task: TaskScores) -> float:
    return max(
        _value(task, scores)
        for name, scores in task.mixed.items()
        if len(set(name.split("+"))) == 1
    )


def _value(task: TaskScores, scores: SystemScores) -> float:
    """The headline, turned so that more is better."""
    value = task.value(scores)
    return -value if task.lower_is_better else value
