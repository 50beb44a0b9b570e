"""What requests on collections may hold, and what their answers hold."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, JsonValue

from service.api.schemas import (
    RequestModel,
    ResponseModel,
    StopAtFirst,
    TextGranularity,
    TextOrTexts,
    Usage,
)

KindName = Literal["auto", "flat", "hnsw", "ivf"]
ScoreName = Literal["cosine", "csls"]
FieldName = Literal["text", "language", "granularity", "metadata", "adapter", "vector"]
DEFAULT_FIELDS: tuple[FieldName, ...] = ("text", "language", "granularity", "metadata")

Id = Annotated[str, Field(min_length=1, max_length=512)]
LanguageCode = Annotated[
    str, Field(pattern=r"^[a-z]{2,3}([_-][A-Za-z0-9]{2,8})*$", examples=["de", "zh-Hant"])
]
Languages = Annotated[list[LanguageCode], StopAtFirst(), Field(min_length=1, max_length=1_000)]
KnownGranularity = Literal["phrase", "sentence", "paragraph"]
Granularities = Annotated[list[KnownGranularity], StopAtFirst(), Field(min_length=1)]
Metadata = dict[str, JsonValue]
Vector = Annotated[list[FiniteFloat], StopAtFirst()]

_FILTER = Field(
    None,
    description="A condition: an object with one of `and`, `or` (lists of them), `not` (one), or "
    "with `field` (`id`, `language`, `granularity`, `metadata.NAME`) and one of `eq`, `in`, "
    "`range` (`gt`, `gte`, `lt`, `lte`), `exists`.",
    examples=[{"field": "metadata.year", "range": {"gte": 1990}}],
)
_LANGUAGES = Field(None, description="Only documents in these languages.")
_GRANULARITIES = Field(None, description="Only documents of these granularities.")
_INCLUDE = Field(list(DEFAULT_FIELDS), description="What is told of each document beside its id.")


class IndexRequest(RequestModel):
    """What the index of a collection should be."""

    kind: KindName = Field("auto", description="`auto`: chosen by measurement on the collection.")
    recall: float = Field(
        0.95, gt=0, le=1, description="The least recall@10 against exact search that is accepted."
    )
    memory_bytes: int | None = Field(None, gt=0, description="What an index may hold; null: any.")
    parameters: dict[str, int] = Field({}, description="Parameters of the kind, by name.")


class CollectionRequest(RequestModel):
    """Settings of a new collection; `{}` for the defaults."""

    dimensions: int | None = Field(
        None, gt=0, le=65_536, description="Of every vector; null: those of the bundle."
    )
    granularity: TextGranularity = Field(
        "auto", description="Which adapter reads the texts; `auto`: each that of its granularity."
    )
    index: IndexRequest = IndexRequest()


class DocumentRequest(RequestModel):
    """A text with its id; it takes the place of a document with the same id."""

    id: Id = Field(examples=["article-17"])
    text: str = Field(examples=["Die Bibliothek öffnet um neun Uhr."])
    language: LanguageCode | None = Field(None, description="null: told from the text.")
    granularity: TextGranularity | None = Field(
        None, description="null: as the collection's settings say."
    )
    metadata: Metadata = Field({}, examples=[{"year": 2024}])


class DocumentsRequest(RequestModel):
    """Documents to write, all or none."""

    documents: Annotated[list[DocumentRequest], StopAtFirst()]


class VectorRequest(RequestModel):
    """A vector with its id, and what else is known of the document."""

    id: Id
    vector: Vector | str = Field(
        description="Numbers, or base64 of little-endian float32; it is given length 1."
    )
    text: str | None = None
    language: LanguageCode | None = Field(None, description="null: told from the text, or `und`.")
    granularity: KnownGranularity | None = None
    metadata: Metadata = Field({})


class MadeBy(RequestModel):
    """What made the vectors of a request."""

    adapter: str | None = Field(
        None, description="The adapter that made the vectors; null: not one of ours."
    )
    bundle: str | None = Field(None, description="Its bundle; null: the one that is served.")
    version: str | None = Field(None, description="Of the bundle; null: of the one served.")


class VectorsRequest(MadeBy):
    """Documents with vectors that are there already, all or none."""

    documents: Annotated[list[VectorRequest], StopAtFirst()]


class DeleteRequest(RequestModel):
    """Which documents to delete: `ids`, or all that meet `filter`."""

    ids: Annotated[list[str], StopAtFirst()] | None = None
    filter: JsonValue = _FILTER


class CountRequest(RequestModel):
    """Which documents to count; `{}` for all."""

    filter: JsonValue = _FILTER
    languages: Languages | None = _LANGUAGES
    granularities: Granularities | None = _GRANULARITIES


class ScrollRequest(CountRequest):
    """Which documents to list, in the order in which they were written."""

    limit: int = Field(100, ge=1, le=1_000)
    cursor: str | None = Field(None, description="The `cursor` of the last answer; null: start.")
    include: list[FieldName] = _INCLUDE


class SearchRequest(CountRequest, MadeBy):
    """Texts or vectors to find documents for: exactly one of `queries` and `vectors`."""

    queries: TextOrTexts | None = Field(None, examples=[["When does the library open?"]])
    vectors: Annotated[list[Vector], StopAtFirst()] | None = None
    top_k: int = Field(10, ge=1, le=1_000)
    granularity: TextGranularity = Field(
        "auto",
        description="Which adapter reads the queries. `auto`: that of a query's own granularity "
        "where it compares with the documents', and theirs otherwise.",
    )
    score: ScoreName = Field(
        "cosine", description="`csls`: the cosine, less how crowded it is around either text."
    )
    min_score: FiniteFloat | None = Field(None, description="Leave lower scores out.")
    balance: bool = Field(
        False, description="Take the results from all languages in turn, as evenly as they go."
    )
    include: list[FieldName] = _INCLUDE


class RebuildRequest(RequestModel):
    """Build the index anew; `{}` as it was asked for before."""

    index: IndexRequest | None = Field(None, description="What it should be from now on.")
    embed: bool = Field(
        False,
        description="First embed anew the texts whose vectors the served bundle did not make.",
    )


class IndexInfo(ResponseModel):
    """An index as it is; recall is of the last audit."""

    kind: str
    parameters: dict[str, int]
    size: int
    bytes: int
    recall: float
    filtered_recall: float
    audited_queries: int
    build_s: float
    when: str


class SpaceInfo(ResponseModel):
    """The documents whose vectors one adapter of one bundle made; nulls: the caller's own."""

    bundle: str | None
    version: str | None
    adapter: str | None
    # Whether texts can be compared with them by the bundle that is served.
    current: bool
    documents: int
    index: IndexInfo


class CollectionInfo(ResponseModel):
    """What a collection is and holds."""

    name: str
    created_at: str
    dimensions: int
    granularity: str
    index: dict[str, Any]
    documents: int
    sequence: int
    bytes: int
    languages: dict[str, int]
    granularities: dict[str, int]
    vectors: list[SpaceInfo]


class CollectionList(ResponseModel):
    """The names of all collections."""

    collections: list[str]


class Deleted(ResponseModel):
    """How many were deleted."""

    deleted: int


class Count(ResponseModel):
    """How many there are."""

    count: int


class WrittenItem(ResponseModel):
    """How a document's text was read."""

    id: str
    language: str
    granularity: str
    adapter: str
    tokens: int
    truncated: bool


class WrittenResponse(ResponseModel):
    """The documents are on disk."""

    inserted: int
    replaced: int
    sequence: int
    items: list[WrittenItem]
    usage: Usage


class VectorsWritten(ResponseModel):
    """The vectors are on disk."""

    inserted: int
    replaced: int
    sequence: int


class DocumentResponse(ResponseModel):
    """A document, as far as it was asked for."""

    id: str
    text: str | None
    language: str
    granularity: str | None
    metadata: dict[str, Any]


class ScrollResponse(ResponseModel):
    """Some documents; `cursor` is null after the last."""

    documents: list[DocumentResponse]
    cursor: str | None


class SearchHit(DocumentResponse):
    """A document that was found."""

    score: float


class SearchResponse(ResponseModel):
    """For each query the documents found, best first."""

    results: list[list[SearchHit]]
    usage: Usage


class RebuildResponse(ResponseModel):
    """What was embedded anew, and the collection since."""

    embedded: int
    collection: CollectionInfo
