"""Texts in, vectors out: routing, tokenising, batching and the model put together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from models.bundle import TEXT_GRANULARITIES, Adapter, Bundle, Granularity, Manifest
from service.encoding.batching import Batcher, TokenLedger, plan_batches
from service.encoding.granularity import route
from service.encoding.session import Choice, Session, Vectors, Wish
from service.encoding.tokenizer import LongText, Row, Tokenizer, windows
from service.errors import InferenceFailed, InvalidInput, NotReady, TooLarge, quote

# Only for admission before a request is tokenised; the true count replaces it.
_CHARACTERS_PER_TOKEN = 4

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Unit:
    """One text to embed, and who decides its adapter.

    With neither granularity nor adapter the router decides. `origin` names the text in error
    messages, such as `inputs[3]` or `line 17`.
    """

    text: str
    origin: str
    granularity: Granularity | None = None
    adapter: str | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """How one text was embedded."""

    # What the text was taken for, and the adapter that the bundle has for that.
    granularity: Granularity
    adapter: str
    # Tokens that the vector covers, special tokens included, overlap of windows not counted twice.
    tokens: int
    # Whether the end of the text is not in the vector.
    truncated: bool


@dataclass(frozen=True, slots=True)
class Encoded:
    """The vectors of some texts, in their order, with how each came about."""

    vectors: Vectors  # (texts, dimension)
    facts: tuple[Facts, ...]

    @property
    def tokens(self) -> int:
        """Tokens of all texts."""
        return sum(fact.tokens for fact in self.facts)


@dataclass(frozen=True, slots=True)
class Options:
    """What a request wants of all its texts alike."""

    long_text: LongText = LongText.WINDOW
    # False: the mean of the token states as it is; with windows, the mean of their means.
    normalize: bool = True
    # Vectors of this request will be compared with each other: where the adapters that the texts
    # route to are not all comparable, the adapter of the coarsest granularity takes them all.
    comparable: bool = False


@dataclass(frozen=True, slots=True)
class _Choice:
    """A text's granularity, and the adapter that the bundle has for it."""

    granularity: Granularity
    adapter: Adapter

    @property
    def coarseness(self) -> int:
        return TEXT_GRANULARITIES.index(self.granularity)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request in the form that the model takes: distinct rows, and which belong to which text."""

    rows: tuple[Row, ...]
    # For each text: its rows as indices into `rows`, and the tokens of content in each.
    parts: tuple[tuple[tuple[int, int], ...], ...]
    facts: tuple[Facts, ...]
    normalize: bool

    @property
    def tokens(self) -> int:
        """What the model has to read, without padding."""
        return sum(map(len, self.rows))

    def finish(self, vectors: Vectors) -> Encoded:
        """The vectors of the texts from those of the rows, (rows, dimension)."""
        texts = [self._join(vectors, parts) for parts in self.parts]
        return Encoded(np.stack(texts), self.facts)

    def _join(self, vectors: Vectors, parts: tuple[tuple[int, int], ...]) -> Vectors:
        if len(parts) == 1:
            own: Vectors = vectors[parts[0][0]]
            return own
        weights = np.array([tokens for _, tokens in parts], np.float32)
        mean: Vectors = weights @ vectors[[index for index, _ in parts]] / weights.sum()
        if not self.normalize:
            return mean
        norm = np.linalg.norm(mean)
        # Windows that cancel out leave a zero vector: zero, not NaN.
        unit: Vectors = mean / norm if norm > 0 else mean
        return unit


class Encoder:
    """The bundle at work: ready once opened, and safe to call from several threads."""

    def __init__(self, bundle: Bundle, tokenizer: Tokenizer, session: Session) -> None:
        self.bundle = bundle
        self._tokenizer = tokenizer
        self._session = session

    @classmethod
    def open(cls, path: Path, *, threads: int | None = None, wish: Wish | None = None) -> Encoder:
        """Verify and load the bundle at `path`, to compute the way that `wish` asks for.

        Raises BundleError, in one line, where it is not whole, and SettingsError where this machine
        cannot do what was asked for.
        """
        bundle = Bundle.open(path)
        return cls(bundle, Tokenizer.open(bundle), Session.open(bundle, threads, wish))

    @property
    def choice(self) -> Choice:
        """What computes the model, in which precision, on which device."""
        return self._session.choice

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of itself."""
        return self.bundle.manifest

    def encode(
        self, units: Sequence[Unit], options: Options | None = None, *, batch_tokens: int = 1_024
    ) -> Encoded:
        """Embed `units` in this thread: float32 vectors (units, dimension), and facts of each.

        Raises InvalidInput for a text that cannot be embedded, InferenceFailed where the model
        gives no answer.
        """
        prepared = self.prepare(units, options or Options())
        vectors = np.empty((len(prepared.rows), self.manifest.dimension), np.float32)
        for batch in plan_batches([len(row) for row in prepared.rows], batch_tokens):
            vectors[batch] = self.infer([prepared.rows[index] for index in batch])
        return prepared.finish(vectors)

    def prepare(self, units: Sequence[Unit], options: Options) -> Prepared:
        """Route, tokenise and cut `units` into rows; equal rows stand once.

        Equal texts of a request thus get the same vector to the last bit. Raises InvalidInput,
        whose `param` is the origin of the text.
        """
        for unit in units:
            check_text(unit.text, unit.origin)
        contents = self._tokenizer.content_ids([unit.text for unit in units])
        choices = [
            self._choose(unit, len(content)) for unit, content in zip(units, contents, strict=True)
        ]
        if options.comparable:
            choices = self._comparable(choices)
        places: dict[Row, int] = {}
        parts, facts = [], []
        for unit, content, choice in zip(units, contents, choices, strict=True):
            adapter = choice.adapter
            pieces, truncated = self._cut(unit, content, adapter, options.long_text)
            rows = [
                Row(self._tokenizer.with_specials(piece), adapter.row, options.normalize)
                for piece in pieces
            ]
            parts.append(
                tuple(
                    (places.setdefault(row, len(places)), len(piece))
                    for row, piece in zip(rows, pieces, strict=True)
                )
            )
            tokens = len(rows[0]) if truncated else self._count(content)
            facts.append(Facts(choice.granularity, adapter.name, tokens, truncated))
        return Prepared(tuple(places), tuple(parts), tuple(facts), options.normalize)

    def infer(self, rows: Sequence[Row]) -> Vectors:
        """Run one batch through the model: (rows, dimension); InferenceFailed, never fewer rows."""
        vectors = self._infer(rows)
        if len(vectors) != len(rows):
            raise InferenceFailed(f"the model gave {len(vectors)} vectors for {len(rows)} rows")
        return vectors

    def _infer(self, rows: Sequence[Row]) -> Vectors:
        batch = self._tokenizer.pad(rows)
        if all(row.normalize for row in rows):
            return self._session.embed(batch)
        # The graph normalises; the vector before that is the masked mean of its token states.
        embedding, states = self._session.embed_with_tokens(batch)
        mask = batch.attention_mask[:, :, None].astype(np.float32)
        means: Vectors = np.where(mask > 0, states, 0).sum(axis=1) / mask.sum(axis=1)
        normalize = np.array([[row.normalize] for row in rows])
        return np.where(normalize, embedding, means)

    def _count(self, content: tuple[int, ...]) -> int:
        return len(content) + self._tokenizer.special_count

    def _choose(self, unit: Unit, content_length: int) -> _Choice:
        if unit.adapter is not None:
            adapter = self.manifest.adapter(unit.adapter)
            return _Choice(adapter.granularity, adapter)
        if unit.granularity is not None:
            return self._routed(unit.granularity)
        try:
            granularity = route(unit.text)
        except InvalidInput as error:
            raise InvalidInput(error.message, param=unit.origin) from None
        # The router does not know the tokenizer: a text too long for its adapter goes to the
        # next coarser one that takes it, or else to the coarsest.
        coarser = TEXT_GRANULARITIES[TEXT_GRANULARITIES.index(granularity) :]
        needed = content_length + self._tokenizer.special_count
        choices = [self._routed(one) for one in coarser]
        fitting = (choice for choice in choices if needed <= choice.adapter.max_tokens)
        return next(fitting, choices[-1])

    def _routed(self, granularity: Granularity) -> _Choice:
        return _Choice(granularity, self.manifest.adapter(self.manifest.routing[granularity]))

    def _comparable(self, choices: list[_Choice]) -> list[_Choice]:
        names = {choice.adapter.name for choice in choices}
        if all(self.manifest.is_comparable(one, other) for one in names for other in names):
            return choices
        return [max(choices, key=lambda choice: choice.coarseness)] * len(choices)

    def _cut(
        self, unit: Unit, content: tuple[int, ...], adapter: Adapter, long_text: LongText
    ) -> tuple[list[tuple[int, ...]], bool]:
        """The pieces of `content` that the model reads, and whether its end is left out."""
        capacity = adapter.max_tokens - self._tokenizer.special_count
        if len(content) > capacity and long_text is LongText.TRUNCATE:
            return [content[:capacity]], True
        if len(content) > capacity and long_text is LongText.ERROR:
            raise InvalidInput(
                f"{unit.origin} has {self._count(content)} tokens and adapter {adapter.name} takes "
                f"{adapter.max_tokens}; shorten it, or set long_text to window or truncate",
                param=unit.origin,
            )
        return [content[start:end] for start, end in windows(len(content), capacity)], False


def check_text(text: str, origin: str) -> None:
    """Raise InvalidInput where `text` is nothing that can be embedded."""
    if not text.strip():
        raise InvalidInput(f"{origin} is {quote(text)}: an empty text has no vector", origin)
    if "\0" in text:
        raise InvalidInput(f"{origin} holds a NUL character (U+0000); remove it", origin)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"{origin} holds a lone surrogate (U+{ord(text[error.start]):04X}) at character "
            f"{error.start}, which is no text; send well-formed Unicode",
            origin,
        ) from None


class Engine:
    """The encoder for a server: many requests at once, one queue, nothing on the event loop.

    Every accepted request ends in its vectors, an error or its caller's cancellation. Must be made
    inside a running event loop.
    """

    def __init__(self, encoder: Encoder, *, batch_tokens: int, queue_tokens: int) -> None:
        self.encoder = encoder
        self._ledger = TokenLedger(queue_tokens)
        self._batcher = Batcher(
            encoder.infer, batch_tokens=batch_tokens, measured=self._ledger.measured
        )
        # Two, so that a request of many megabytes does not hold up the tokens of a short one.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="prepare")
        self._accepting = True
        self._active = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def ready(self) -> bool:
        """Whether a request would be accepted, if there is room in the queue."""
        return self._accepting and self._batcher.running

    async def encode(self, units: Sequence[Unit], options: Options | None = None) -> Encoded:
        """Embed `units`: float32 vectors (units, dimension), and facts of each.

        Raises InvalidInput and InferenceFailed as `Encoder.encode` does; Overloaded while the queue
        is full; TooLarge where the request would not fit the empty queue; NotReady when stopping.
        """
        if not self._accepting:
            raise NotReady("the service is stopping; send the request to another instance")
        self._active += 1
        self._idle.clear()
        try:
            return await self._encode(units, options or Options())
        finally:
            self._active -= 1
            if not self._active:
                self._idle.set()

    async def close(self) -> None:
        """Refuse new requests, end those that were accepted, and stop."""
        self._accepting = False
        try:
            await self._idle.wait()
        finally:
            await self._batcher.close()
            self._threads.shutdown(wait=False)

    async def _encode(self, units: Sequence[Unit], options: Options) -> Encoded:
        limit = self._ledger.limit
        guess = 1 + sum(len(unit.text) for unit in units) // _CHARACTERS_PER_TOKEN
        with self._ledger.hold(min(guess, limit)) as correct:
            prepared = await self._off_loop(lambda: self.encoder.prepare(units, options))
            if prepared.tokens > limit:
                raise TooLarge(
                    f"the request has {prepared.tokens} tokens and the queue takes {limit} in all "
                    "(POLYGRAIN_QUEUE_TOKENS); send fewer or shorter texts at a time"
                )
            correct(prepared.tokens)
            vectors = await self._batcher.submit(prepared.rows)
            return await self._off_loop(lambda: prepared.finish(vectors))

    async def _off_loop(self, function: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)
