"""The settings: read once, in `main`, from the environment and the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.bundle import DEFAULT_BUNDLE

ENV_PREFIX = "POLYGRAIN_"
# A key to present, of commands that ask a running service: no setting, and nowhere logged.
API_KEY_VARIABLE = f"{ENV_PREFIX}API_KEY"

LogLevel = Literal["debug", "info", "warning", "error"]
RuntimeName = Literal["auto", "onnxruntime", "openvino", "tensorrt"]
PrecisionName = Literal["auto", "float32", "bfloat16", "int8", "float16"]
DeviceName = Literal["auto", "cpu", "cuda"]
Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]


class SettingsError(ValueError):
    """A setting cannot be used; the message is one line that names it."""


class Settings(BaseModel):
    """Everything that may differ from one deployment to the next. `docs/api.md` lists it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle: Path = DEFAULT_BUNDLE
    # Where collections are kept; made at the first use. In the home folder, so that they are the
    # same whatever folder the service is started in.
    state_dir: Path = Path("~/.local/share/polygrain")
    host: str = "127.0.0.1"
    # 0 lets the system choose; the log line `listening` tells which.
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    # Processes behind the one port; each has its own model, queue and threads.
    workers: Annotated[int, Field(gt=0, le=256)] = 1
    # Of one worker. None: every core this process may run on, divided among the workers.
    threads: Positive | None = None
    # What computes the model; auto takes the fastest that is here and faithful.
    runtime: RuntimeName = "auto"
    precision: PrecisionName = "auto"
    device: DeviceName = "auto"
    log_level: LogLevel = "info"

    # API keys, as lines of a file and as words of one string: docs/operations.md has their form.
    keys_file: Path | None = None
    keys: str | None = None
    # Whether callers without a key may read and write where others can reach the service.
    allow_anonymous: bool = False
    # Of each key that names no limits of its own; 0 sets none.
    requests_per_minute: NotNegative = 0
    tokens_per_minute: NotNegative = 0
    # Web pages that may call the service from a browser: origins with commas between, or *.
    cors_origins: str | None = None
    # Whether /metrics is read without a key where keys are in force.
    open_metrics: bool = False
    # Where spans of OpenTelemetry go, over HTTP; None makes none.
    traces_endpoint: str | None = None

    max_items: Positive = 2_048
    max_item_characters: Positive = 100_000
    max_body_bytes: Positive = 16 * 1024 * 1024
    # Tokens of all requests that are accepted and not yet answered.
    queue_tokens: Positive = 500_000
    # Tokens of one batch, padding included.
    batch_tokens: Positive = 1_024
    # The same while a smaller or more urgent request would have to wait for it.
    shared_batch_tokens: Positive = 256
    # Batches that run at the same time.
    model_threads: Positive = 1
    # Memory for vectors of texts seen before; 0 keeps none.
    cache_bytes: NotNegative = 0
    # Tokens of a request that the event loop runs itself while nobody else is there; 0: none.
    lone_tokens: NotNegative = 64
    # Tokens of a batch of small requests that runs beside one of larger ones; 0: none does.
    beside_tokens: NotNegative = 128
    # Jobs that run at the same time; the others wait.
    jobs_at_once: Positive = 2
    # Folder whose files jobs may read by path; None: only files that were uploaded.
    data_dir: Path | None = None
    # Bytes of one uploaded file, and of all that are kept together.
    max_file_bytes: Positive = 4 * 1024**3
    max_files_bytes: Positive = 64 * 1024**3
    # How long results are kept after a job has ended, and files that no job uses.
    keep_jobs_s: Positive = 7 * 24 * 3_600
    # How long a stopping server works on what it accepted.
    shutdown_timeout_s: Positive = 60


def read_settings(given: Mapping[str, Any] | None = None) -> Settings:
    """The settings from the environment; `given` values that are not None win over it.

    Raises SettingsError for the first value that is not allowed.
    """
    chosen = {name: value for name, value in (given or {}).items() if value is not None}
    variables = {name.upper(): value for name, value in os.environ.items()}
    environment = {
        name: variables[variable]
        for name in Settings.model_fields
        if (variable := f"{ENV_PREFIX}{name.upper()}") in variables
    }
    try:
        return Settings(**{**environment, **chosen})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        option = f"--{name.replace('_', '-')}"
        origin = option if name in chosen else f"{ENV_PREFIX}{name.upper()}"
        came = repr(first["input"])[:100]
        reason = first["msg"][:1].lower() + first["msg"][1:]
        raise SettingsError(f"{origin} is {came}: {reason}") from None


def unknown_variables() -> list[str]:
    """Environment variables that carry our prefix and are no setting: most often, a typo."""
    known = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields} | {API_KEY_VARIABLE}
    ours = (name for name in os.environ if name.upper().startswith(ENV_PREFIX))
    return sorted(name for name in ours if name.upper() not in known)
