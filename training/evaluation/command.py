"""The body of `polygrain-train evaluate`: measure or read scores, then print and write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from training.errors import TrainingError
from training.evaluation.cut import Cut
from training.evaluation.embedder import Embedder
from training.evaluation.encoder import Encoder
from training.evaluation.languages import Languages
from training.evaluation.reading import PLAIN
from training.evaluation.report.page import write_report
from training.evaluation.scores import Scores, read_scores, write_scores
from training.evaluation.service import ServiceEncoder
from training.evaluation.suite import Selection, choose_tasks, evaluate
from training.evaluation.table import as_markdown, further_figures, routing_gains
from training.evaluation.tasks import TASKS

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Source:
    """Where scores come from: exactly one of these."""

    bundle: Path | None
    url: str | None
    scores: Path | None


@dataclass(frozen=True, slots=True)
class Choice:
    """What to measure, as typed: names with commas between; None for the default."""

    tasks: str | None
    adapters: str | None
    languages: str | None
    # Of every vector, the first so many; None: all.
    dimensions: int | None = None

    def selection(self) -> Selection:
        """Raises TrainingError where there is no task of a name."""
        return Selection(
            choose_tasks(list(TASKS) if self.tasks is None else _names("--tasks", self.tasks)),
            Languages.parse(_names("--languages", self.languages or "core")),
            None if self.adapters is None else tuple(_names("--adapters", self.adapters)),
        )


@dataclass(frozen=True, slots=True)
class Outputs:
    """What is written, beside what is printed."""

    scores: Path | None
    report: Path | None
    compare: Path | None


def run(
    source: Source,
    folder: Path | None,
    choice: Choice,
    outputs: Outputs,
    threads: int | None,
    say: Say,
    note: Say,
) -> None:
    """Measure what `source` names, or read its scores, and hand them out.

    Tables go to `say`, remarks to `note`. Raises TrainingError where options contradict each other
    or a name is unknown, before anything is measured.
    """
    if sum(each is not None for each in (source.bundle, source.url, source.scores)) != 1:
        raise TrainingError(
            "give exactly one of --bundle FOLDER, --url of a running service, --scores FILE"
        )
    if outputs.compare is not None and outputs.report is None:
        raise TrainingError("--compare is for the report; give --report FILE too")
    for file in (outputs.scores, outputs.report):
        # Told now, and not after an hour of measuring.
        if file is not None and not file.parent.is_dir():
            raise TrainingError(f"{file} cannot be written: there is no folder {file.parent}")
    other = None if outputs.compare is None else read_scores(outputs.compare)
    if source.scores is not None:
        if folder is not None or outputs.scores is not None or choice != Choice(None, None, None):
            raise TrainingError(
                "--scores reads what was measured before; leave --evaluation, --out, --tasks, "
                "--adapters, --languages and --dimensions out"
            )
        scores = read_scores(source.scores)
    elif folder is None:
        raise TrainingError("give --evaluation FOLDER, where the test sets are")
    else:
        scores = _measure(source, folder, choice, threads)
    for name, reason in scores.skipped.items():
        note(f"skipped {name}: {reason}")
    shown = [as_markdown(scores.by_language()), further_figures(scores), *routing_gains(scores)]
    say("\n\n".join(part for part in shown if part))
    if outputs.scores is not None:
        write_scores(scores, outputs.scores)
        note(f"wrote {outputs.scores}")
    if outputs.report is not None:
        write_report(scores, other, outputs.report)
        note(f"wrote {outputs.report}")


def _names(option: str, value: str) -> Sequence[str]:
    names = [name.strip() for name in value.split(",")]
    if not all(names):
        raise TrainingError(f"{option} is {value!r}; give names with commas between")
    return names


def _measure(source: Source, folder: Path, choice: Choice, threads: int | None) -> Scores:
    selection = choice.selection()
    read_from: Literal["bundle", "service"] = "bundle" if source.bundle else "service"
    encoder: Encoder
    if source.bundle is None:
        encoder = ServiceEncoder.open(source.url or "")
    else:
        plain = selection.systems is None or PLAIN in selection.systems
        encoder = Embedder.open(source.bundle, threads, plain)
    if choice.dimensions is not None:
        encoder = Cut(encoder, choice.dimensions)
    return evaluate(encoder, folder, selection, read_from)
