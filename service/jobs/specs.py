"""What a job is to do: plain values that are stored with it and are all that its shards need."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal

from service.rows import Columns, Format

Output = Literal["parquet", "jsonl", "tsv", "npy"]
MEDIA_TYPES: dict[Output, str] = {
    "parquet": "application/vnd.apache.parquet",
    "jsonl": "application/x-ndjson",
    "tsv": "text/tab-separated-values; charset=utf-8",
    "npy": "application/octet-stream",
}


class Kind(StrEnum):
    """Types of jobs."""

    EMBED = "embed"
    INDEX = "index"
    RETRIEVE = "retrieve"
    ALIGN = "align"


@dataclass(frozen=True, slots=True)
class Input:
    """Where rows come from: an uploaded file by its id, or a path in the data folder."""

    file: str | None = None
    path: str | None = None
    # None: by the ending of the file's name, or else lines.
    format: Format | None = None
    columns: Columns = field(default_factory=Columns)


@dataclass(frozen=True, slots=True)
class Spec:
    """A job as it was asked for."""

    kind: Kind
    # One, or the source and the target of an alignment.
    inputs: tuple[Input, ...]
    output: Output
    # More bad rows than this end the job; None: any number is left out.
    max_errors: int | None = None
    # The collection of an index or a retrieve job.
    collection: str | None = None
    # As the interactive twin of the kind takes them.
    options: dict[str, Any] = field(default_factory=dict)
    # As its owner wrote it.
    request: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)

    @classmethod
    def of_json(cls, value: dict[str, Any]) -> Spec:
        """What `as_json` gave."""
        inputs = tuple(
            Input(**{**each, "columns": Columns(**each["columns"])}) for each in value["inputs"]
        )
        return cls(**{**value, "kind": Kind(value["kind"]), "inputs": inputs})
