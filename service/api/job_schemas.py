"""What requests on jobs and files may hold, and what their answers hold."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, JsonValue, RootModel

from service.api.align_schemas import ScoreName
from service.api.collection_schemas import Granularities, KnownGranularity, LanguageCode, Languages
from service.api.collection_schemas import ScoreName as RankName
from service.api.schemas import (
    EncodingName,
    LongTextName,
    RequestModel,
    ResponseModel,
    TextGranularity,
)

KindName = Literal["embed", "index", "retrieve", "align"]
FormatName = Literal["lines", "tsv", "jsonl", "parquet"]
OutputName = Literal["parquet", "jsonl", "tsv"]
ArrayOrOutputName = Literal["parquet", "jsonl", "tsv", "npy"]
HitFieldName = Literal["text", "language", "granularity", "metadata", "adapter"]
StateName = Literal[
    "queued", "running", "finalizing", "cancelling", "completed", "failed", "cancelled"
]
_HIT_FIELDS: tuple[HitFieldName, ...] = ("text", "language", "granularity", "metadata")

_MAX_ERRORS = Field(
    None, ge=0, description="More bad rows than this end the job. null: all bad rows are left out."
)


class InputRequest(RequestModel):
    """A file of texts: exactly one of `file` and `path`."""

    file: str | None = Field(None, description="The id of an uploaded file.")
    path: str | None = Field(None, description="A path in the server's data folder.")
    format: FormatName | None = Field(
        None,
        description="null: by the ending of the name (.txt, .tsv, .jsonl, .ndjson, .json, "
        ".parquet, the first five also with .gz or .zst), or else lines.",
    )
    text_column: str = Field("text", min_length=1, description="Column of the texts.")
    id_column: str = Field("id", min_length=1, description="Column of ids, where there is one.")
    language_column: str | None = Field(
        None, description="Column of languages; null: `language` or `lang`."
    )
    granularity_column: str = "granularity"


class EmbedJob(RequestModel):
    """Vectors of a file's texts; the options are those of `/embed`."""

    type: Literal["embed"]
    input: InputRequest
    output: ArrayOrOutputName = Field(
        "parquet",
        description="`npy`: an array with a row for each row of the input, NaN (or 0 in integers) "
        "where it is bad. The others tell the line of each row and leave bad rows out.",
    )
    max_errors: int | None = _MAX_ERRORS
    granularity: TextGranularity = "auto"
    adapter: str | None = None
    normalize: bool = True
    long_text: LongTextName = "window"
    dimensions: int | None = None
    encoding: EncodingName = "float"


class IndexJob(RequestModel):
    """A file's texts into a collection that is there; a document takes the place of its id's."""

    type: Literal["index"]
    input: InputRequest
    collection: str
    output: OutputName = Field("jsonl", description="How each row was read, a line each.")
    max_errors: int | None = _MAX_ERRORS
    prefix: str = Field(
        "", max_length=200, description="Before the line's number, the id of a row without one."
    )
    language: LanguageCode | None = Field(
        None, description="Of rows that name none; null: told from the text."
    )
    granularity: TextGranularity | None = Field(
        None, description="Of rows that name none; null: as the collection's settings say."
    )


class RetrieveJob(RequestModel):
    """The documents nearest to each text of a file; the options are those of `…/search`."""

    type: Literal["retrieve"]
    input: InputRequest
    collection: str
    output: OutputName = Field(
        "jsonl", description="`tsv` has a line for each hit, the others a row for each query."
    )
    max_errors: int | None = _MAX_ERRORS
    top_k: int = Field(10, ge=1, le=1_000)
    granularity: TextGranularity = "auto"
    score: RankName = "cosine"
    min_score: FiniteFloat | None = None
    balance: bool = False
    filter: JsonValue = None
    languages: Languages | None = None
    granularities: Granularities | None = None
    include: list[HitFieldName] = Field(
        list(_HIT_FIELDS), description="What is told of each hit beside its id and score."
    )


class AlignJob(RequestModel):
    """Which texts of two files are translations of each other, each at most once: mining."""

    type: Literal["align"]
    source: InputRequest
    target: InputRequest
    output: OutputName = "tsv"
    max_errors: int | None = _MAX_ERRORS
    score: ScoreName = "margin_ratio"
    k: int = Field(4, ge=1, le=1_000, description="Neighbours that a margin is measured over.")
    threshold: FiniteFloat | None = Field(None, description="Leave pairs with a lower score out.")
    min_probability: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Or pairs that are less probably translations; with neither, 0.5 where the "
        "bundle is calibrated.",
    )
    granularity: KnownGranularity = Field(
        "sentence", description="Which adapter reads all texts of both files."
    )
    languages: Annotated[list[LanguageCode], Field(min_length=2, max_length=2)] | None = Field(
        None, description="Of the source and the target: whose calibration to use."
    )


AnyJob = EmbedJob | IndexJob | RetrieveJob | AlignJob
JOBS: dict[str, type[EmbedJob] | type[IndexJob] | type[RetrieveJob] | type[AlignJob]] = {
    "embed": EmbedJob,
    "index": IndexJob,
    "retrieve": RetrieveJob,
    "align": AlignJob,
}


class JobRequest(RootModel[AnyJob]):
    """A job of one of the types, for the documentation; a body is read as the model of its type."""


class FileInfo(ResponseModel):
    """An uploaded file; it is kept while a job uses it, and else until `expires_at`."""

    id: str
    name: str
    bytes: int
    sha256: str
    created_at: str
    expires_at: str


class FileList(ResponseModel):
    """All uploaded files, the youngest first."""

    files: list[FileInfo]


class JobCounts(ResponseModel):
    """Rows of the input: `completed` and `failed` are on disk, whatever happens."""

    total: int | None
    completed: int
    failed: int


class JobStage(ResponseModel):
    """What a running job does, in rows, texts or bytes."""

    name: str
    done: int
    total: int | None


class JobFile(ResponseModel):
    """A file that a job left; `partial` where it does not cover the whole input."""

    url: str
    format: str
    media_type: str
    bytes: int
    sha256: str
    rows: int
    partial: bool


class JobInfo(ResponseModel):
    """A job at one moment."""

    id: str
    type: KindName
    state: StateName
    created_at: str
    started_at: str | None
    finished_at: str | None
    expires_at: str | None
    counts: JobCounts
    stage: JobStage | None
    rows_per_second: float | None
    seconds_left: float | None
    error: str | None
    bundle: dict[str, str] | None
    results: JobFile | None
    errors: JobFile | None
    summary: dict[str, Any]
    request: dict[str, Any]


class JobList(ResponseModel):
    """Jobs, the youngest first; `cursor` is null after the last."""

    jobs: list[JobInfo]
    cursor: str | None


class Removed(ResponseModel):
    """What was removed."""

    deleted: int
