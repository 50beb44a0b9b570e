"""What requests may hold, and what responses hold.

Requests are parsed with these models, strictly: no field beyond them, no number for a string.
Response models only describe, for the documentation; answers are written straight from arrays.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, FailFast, Field, FiniteFloat, Tag

# As a Literal and not an enumeration, so that the schema needs no reference to another one.
TextGranularity = Literal["auto", "phrase", "sentence", "paragraph"]
LongTextName = Literal["window", "truncate", "error"]
ScoreName = Literal["margin_ratio", "margin_distance", "cosine"]
EncodingName = Literal["float", "base64", "int8", "binary"]

# Names of the branches of "one value, or a list"; errors leave them out of a field's path.
ONE, EACH = "<one>", "<each>"


def _one_or_each(value: object) -> str:
    return EACH if isinstance(value, list) else ONE


class StopAtFirst(FailFast):
    """One error for a list, where a body of millions of wrong items would make millions.

    Hashable, which FailFast is not and a member of a union must be.
    """

    def __hash__(self) -> int:
        return id(self)


TextList = Annotated[list[str], StopAtFirst()]
TextOrTexts = Annotated[
    Annotated[str, Tag(ONE)] | Annotated[TextList, Tag(EACH)], Discriminator(_one_or_each)
]
GranularityList = Annotated[list[TextGranularity], StopAtFirst()]
GranularityOrEach = Annotated[
    Annotated[TextGranularity, Tag(ONE)] | Annotated[GranularityList, Tag(EACH)],
    Discriminator(_one_or_each),
]


class RequestModel(BaseModel):
    """A request body."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


_GRANULARITY_HELP = (
    "Which adapter reads the texts. `auto`: each text's own granularity, told from its characters. "
    "Where the adapters found are not comparable with each other, the adapter of the coarsest "
    "granularity reads them all."
)


class EmbedRequest(RequestModel):
    """Texts to embed."""

    inputs: TextOrTexts = Field(
        description="One text, or a list of texts.",
        examples=[["Reykjavík", "The cat sleeps on the mat."]],
    )
    granularity: GranularityOrEach = Field(
        "auto",
        description="Which adapter reads a text, for all texts or one value for each. "
        "`auto`: told from the text's characters.",
    )
    adapter: str | None = Field(
        None, description="An adapter by name, for all texts; then leave granularity at `auto`."
    )
    normalize: bool = Field(True, description="Whether vectors have length 1.")
    long_text: LongTextName = Field(
        "window",
        description="What becomes of a text longer than its adapter takes. `window`: mean of "
        "overlapping windows. `truncate`: its end is left out, and `truncated` says so.",
    )
    dimensions: int | None = Field(
        None,
        description="Keep this many dimensions, the first, and normalise anew: one of "
        "`dimensions_allowed` in `/info`. null: all.",
    )
    encoding: EncodingName = Field(
        "float",
        description="How a vector is written. `base64`: little-endian float32 values. `int8`: "
        "integers that times `scale` are the values. `binary`: one bit for each dimension, "
        "8 to an integer, the first dimension highest.",
    )


class SimilarityRequest(RequestModel):
    """Two lists of texts to compare, each text of one with each of the other."""

    sources: TextList = Field(examples=[["The cat sleeps."]])
    targets: TextList = Field(examples=[["Die Katze schläft.", "Es regnet."]])
    granularity: TextGranularity = Field("auto", description=_GRANULARITY_HELP)


class AlignRequest(RequestModel):
    """Two unordered lists of texts, to find which are translations of each other."""

    source: TextList = Field(examples=[["The cat sleeps.", "It rains."]])
    target: TextList = Field(examples=[["Es regnet.", "Die Katze schläft."]])
    level: Literal["text"] = Field("text", description="Whole texts, in no order.")
    method: Literal["one_to_one"] = Field(
        "one_to_one", description="Each text is in at most one pair."
    )
    score: ScoreName = Field("margin_ratio", description="What pairs are ranked by.")
    k: int = Field(
        4,
        ge=1,
        le=1_000,
        description="Neighbours that a margin is measured over; at most the length of a list.",
    )
    threshold: FiniteFloat | None = Field(
        None, description="Pairs with a lower score are left out. null: none is."
    )
    granularity: TextGranularity = Field("auto", description=_GRANULARITY_HELP)


class ResponseModel(BaseModel):
    """Part of an answer; built only when the documentation is asked for."""

    model_config = ConfigDict(defer_build=True)


class ErrorDetail(ResponseModel):
    """What went wrong, for programs (type, code, param) and for people (message)."""

    type: str = Field(examples=["invalid_request_error"])
    code: str = Field(examples=["invalid_value"])
    message: str = Field(
        examples=["granularity is 'chapter'; use one of auto, phrase, sentence, paragraph"]
    )
    param: str | None = Field(examples=["inputs[3]"])


class ErrorBody(ResponseModel):
    """The body of every response that is not a success."""

    error: ErrorDetail


class Usage(ResponseModel):
    """The size of the work."""

    tokens: int


class TextFacts(ResponseModel):
    """How one text was embedded."""

    granularity: str
    adapter: str
    tokens: int
    truncated: bool


class Embedding(TextFacts):
    """One text's vector."""

    index: int
    embedding: list[float] | list[int] | str


class EmbedResponse(ResponseModel):
    """One vector for each input, in the order of the inputs."""

    model: str
    dimensions: int
    # What integers of encoding int8 are times of; null for the others.
    scale: float | None
    data: list[Embedding]
    usage: Usage


class SimilarityResponse(ResponseModel):
    """Cosines, one row for each source. `adapter` is null where texts took different ones."""

    model: str
    granularity: str | None
    adapter: str | None
    scores: list[list[float]]
    sources: list[TextFacts]
    targets: list[TextFacts]
    usage: Usage


class AlignedPair(ResponseModel):
    """Texts that belong together, by index."""

    source: list[int]
    target: list[int]
    score: float
    cosine: float
    probability: float | None


class Sides(ResponseModel):
    """Something for either list."""

    source: list[int]
    target: list[int]


class SidesFacts(ResponseModel):
    """How the texts of either list were embedded."""

    source: list[TextFacts]
    target: list[TextFacts]


class AlignResponse(ResponseModel):
    """Pairs, best first. `adapter` is null where texts took different ones."""

    model: str
    granularity: str | None
    adapter: str | None
    pairs: list[AlignedPair]
    unaligned: Sides
    items: SidesFacts
    usage: Usage


class Status(ResponseModel):
    """A probe's answer."""

    status: str


class AdapterInfo(ResponseModel):
    """One adapter of the bundle."""

    name: str
    granularity: str
    max_tokens: int


class QueueInfo(ResponseModel):
    """The queue of the process that answered; totals count from its start."""

    waiting_rows: int
    held_tokens: int
    # Through the model lately; null before the first batch.
    tokens_per_second: float | None
    refused_requests: int
    rows: int
    batches: int
    padding_share: float
    mean_wait_s: float


class Info(ResponseModel):
    """What is served, and within which limits."""

    name: str
    version: str
    service_version: str
    dimensions: int
    dimensions_allowed: list[int]
    precision: str
    runtime: str
    device: str
    languages: list[str]
    adapters: list[AdapterInfo]
    routing: dict[str, str]
    comparable: list[list[str]]
    limits: dict[str, int]
    queue: QueueInfo
