"""The tasks of the suite, by name; each module says what it measures and on what."""

from __future__ import annotations

from training.evaluation.task import Task
from training.evaluation.tasks import dbp15k, mining, sts, tatoeba, word_alignment, xquad

# Tasks that share texts stand together, so that few are embedded twice.
TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        tatoeba.ACCURACY,
        tatoeba.XSIM,
        tatoeba.MEXA,
        mining.TASK,
        dbp15k.TASK,
        sts.ENGLISH,
        sts.OTHERS,
        xquad.QUESTIONS,
        xquad.PHRASES,
        xquad.ALIGNED,
        xquad.MEXA,
        word_alignment.TASK,
    )
}
