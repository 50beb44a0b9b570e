"""What a run measured and what it cost, kept in its folder as JSON; or why it failed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from training.errors import TrainingError
from training.files import replace

SCORES_FILE = "scores.json"
FAILURE_FILE = "failure.json"

Number = Annotated[float, Field(allow_inf_nan=False)]


class _Value(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Measured(_Value):
    """What one measure through one adapter gave, in percent."""

    # Over which languages `figures` are means.
    over: str
    figures: dict[str, Number]
    by_language: dict[str, dict[str, Number]]


class Spent(_Value):
    """What a run has taken so far."""

    steps: int = 0
    # Trained on: both sides of every pair, as often as drawn.
    texts: int = 0
    # Of the stages' steps and checkpoints; loading the corpus and the backbone is not in it.
    training_s: Number = 0.0
    # Distinct texts that measuring read, through each adapter anew.
    measured_texts: int = 0
    measuring_s: Number = 0.0


class RunScores(_Value):
    """Everything that was measured of a run."""

    format_version: Literal[1] = 1
    # adapter -> key of the measure (`Measure.key`) -> figures
    measured: dict[str, dict[str, Measured]] = Field(default_factory=dict)
    spent: Spent = Spent()

    def with_measured(self, adapter: str, found: Mapping[str, Measured], spent: Spent) -> RunScores:
        """These and what else was measured through an adapter."""
        known = {**self.measured.get(adapter, {}), **found}
        return RunScores(measured={**self.measured, adapter: known}, spent=spent)


class Failure(_Value):
    """Why a run came to nothing, and when."""

    reason: str
    at: str


def read_scores(run: Path) -> RunScores:
    """What a run measured so far; nothing where it has not begun. TrainingError where the file is
    damaged."""
    file = run / SCORES_FILE
    if not file.exists():
        return RunScores()
    try:
        return RunScores.model_validate_json(file.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise TrainingError(
            f"{file} is not what `ablate` writes ({error.errors()[0]['msg']}); delete it to "
            "measure the run again"
        ) from None


def write_scores(run: Path, scores: RunScores) -> None:
    """Keep what a run measured, whole or not at all."""
    _write(run / SCORES_FILE, scores)


def read_failure(run: Path) -> Failure | None:
    """Why a run failed the last time that it was tried; None where it did not."""
    file = run / FAILURE_FILE
    if not file.exists():
        return None
    return Failure.model_validate_json(file.read_text(encoding="utf-8"))


def write_failure(run: Path, failure: Failure) -> None:
    """Keep why a run failed."""
    _write(run / FAILURE_FILE, failure)


def _write(file: Path, value: BaseModel) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
    replace(file, lambda path: path.write_text(text, encoding="utf-8"))
