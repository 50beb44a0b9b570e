"""A run: a folder that says what was trained, on what, and how to repeat it.

    run.json             recipe, sha256 of the inputs, versions, one entry per session, stages done
    STAGE/metrics.jsonl  one line per logged step
    STAGE/metrics.svg    the same as curves, redrawn while it trains
    STAGE/checkpoint.pt  where a cut stage goes on
    STAGE/RESULT         what the stage made; its presence says that the stage is finished

Every trainer uses it alike: claim the folder, then train its stages one after the other.

    with Run.claim(folder, recipe, inputs={"corpus_sha256": ...}, device=device) as run:
        stage = Stage("sentence", steps, step, state, result="weights.pt", ...)
        if not run.finished(stage.name, stage.result):
            run.train(stage)
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import torch
import transformers
from pydantic import BaseModel, ValidationError

from training.errors import TrainingError
from training.files import replace
from training.processes import is_first, wait
from training.stage import Stage, follow_stage, train_stage

RUN_FILE = "run.json"
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder that this process holds; of several that train together, the first does."""

    folder: Path
    # Whether the first process holds it: this one takes part in stages and writes nothing.
    follows: bool = False

    @classmethod
    @contextmanager
    def claim(
        cls, folder: Path, recipe: BaseModel, inputs: Mapping[str, str], device: torch.device
    ) -> Iterator[Self]:
        """Hold `folder` for this process, having seen that it is new or was made by `recipe` from
        `inputs`, which name all else that decides what is computed, by its sha256.

        Fields that a recipe has got since count as their defaults, and inputs that an older run
        did not record are recorded now. Raises TrainingError where another process holds the
        folder, or where another recipe or input made it.
        """
        if not is_first():
            wait()
            yield cls(folder, follows=True)
            return
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise TrainingError(f"{folder} is in use by another training process") from None
            run = cls(folder)
            wanted = {"recipe": recipe.model_dump(mode="json"), **inputs}
            known = read_run(folder) if (folder / RUN_FILE).exists() else {}
            made = {**wanted, **known}
            made["recipe"] = _as_read_today(type(recipe), made["recipe"])
            if changed := [key for key in wanted if made[key] != wanted[key]]:
                raise TrainingError(
                    f"{folder} was made with another {' and '.join(changed)}; use a new folder"
                )
            sessions = [*known.get("sessions", []), _session(device)]
            run.record({**wanted, "versions": _versions(), **known, "sessions": sessions})
            wait()
            yield run

    def record(self, values: Mapping[str, object]) -> None:
        """Add `values` to what `run.json` holds."""
        if self.follows:
            return
        file = self.folder / RUN_FILE
        record = {**(read_run(self.folder) if file.exists() else {}), **values}
        text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        replace(file, lambda path: path.write_text(text, encoding="utf-8"))

    def finished(self, stage: str, result: str) -> bool:
        """Whether `stage` has made its `result`."""
        return (self.folder / stage / result).exists()

    def train(self, stage: Stage) -> None:
        """Train a stage to its end, from its checkpoint where there is one, and record its cost.

        Raises TrainingError where its loss is no number, and Stopped where a signal stops it.
        """
        if self.follows:
            follow_stage(stage, self.folder / stage.name)
            wait()
            return
        cost = train_stage(stage, self.folder / stage.name)
        wait()
        done = read_run(self.folder).get("stages", {})
        self.record({"stages": {**done, stage.name: cost}})


def read_run(folder: Path) -> dict[str, Any]:
    """What `run.json` records; TrainingError where `folder` is no run."""
    try:
        record: dict[str, Any] = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{folder} is no training run: {error}") from None
    return record


def sha256_of(path: Path) -> str:
    """sha256 of a file, or over the names and contents of all visible files below a folder."""
    digest = hashlib.sha256()
    if path.is_file():
        _digest(digest, path)
        return digest.hexdigest()
    for file in sorted(path.rglob("*")):
        if file.is_file() and not file.name.startswith("."):
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
            _digest(digest, file)
    return digest.hexdigest()


def _digest(digest: hashlib._Hash, file: Path) -> None:
    with file.open("rb") as handle:
        while block := handle.read(_BLOCK):
            digest.update(block)


def _as_read_today(kind: type[BaseModel], recipe: object) -> object:
    """A recorded recipe with what today's recipes say besides, so that older runs go on."""
    try:
        return kind.model_validate(recipe).model_dump(mode="json")
    except ValidationError:
        return recipe


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    return versions | {"transformers": transformers.__version__}


def _session(device: torch.device) -> dict[str, object]:
    """Where, when and by which command and code this process trains."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "code": _commit(),
        "device": device.type,
        "gpu": gpu,
        "cpu": cpu_name(),
        "cpu_cores": os.cpu_count(),
        "cpu_threads": torch.get_num_threads(),
        "system": platform.platform(),
        **_versions(),
    }


def _commit() -> str | None:
    """The commit of this source tree, `+` after it where files differ; None outside a checkout."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        commit, changes = (
            subprocess.run([*git, *arguments], capture_output=True, text=True, check=True).stdout
            for arguments in (("rev-parse", "HEAD"), ("status", "--porcelain", "-uno"))
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.strip() + ("+" if changes.strip() else "")


def cpu_name() -> str:
    """What the processor calls itself, or its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), "") or platform.processor() or platform.machine()
