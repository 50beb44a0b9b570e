"""Texts in, vectors out: preparing, batching and the model put together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle, Manifest
from service.encoding.batching import (
    MAX_WHOLE_ROWS,
    Batcher,
    Load,
    Priority,
    QueueState,
    TokenLedger,
    plan_batches,
)
from service.encoding.preparing import Preparer, finished
from service.encoding.session import Choice, Session, Vectors, Wish
from service.encoding.states import TokenStates
from service.encoding.texts import Encoded, Facts, Options, Prepared, Unit, check_text
from service.encoding.tokenizer import Batch, Row, Tokenizer, pack
from service.errors import InferenceFailed, NotReady, TooLarge

__all__ = ["Encoded", "Encoder", "Engine", "Facts", "Options", "Prepared", "Unit", "check_text"]

# Only for admission before a request is tokenised; the true count replaces it.
_CHARACTERS_PER_TOKEN = 4

# Requests with at most so many characters are tokenised on the event loop: that takes about as
# long as handing them to another thread and back.
_INLINE_CHARACTERS = 400

# Rows whose vectors are put together on the event loop; more go to another thread.
_INLINE_ROWS = 256

# The length of a usual short text, for the warm-up.
_SHORT_TOKENS = 16

_Result = TypeVar("_Result")
_Finished = TypeVar("_Finished", covariant=True)


class _Preparation(Protocol[_Finished]):
    """A request as the model takes it, and what it comes to."""

    @property
    def rows(self) -> tuple[Row, ...]: ...

    @property
    def tokens(self) -> int: ...

    def finish(self, vectors: Vectors, /) -> _Finished: ...


_Submit = Callable[[Sequence[Row]], Awaitable[Vectors]]


class Encoder:
    """The bundle at work: ready once opened, and safe to call from several threads."""

    def __init__(self, bundle: Bundle, tokenizer: Tokenizer, session: Session) -> None:
        self.bundle = bundle
        self.preparer = Preparer(bundle.manifest, tokenizer)
        self._tokenizer = tokenizer
        self._session = session
        self._beside: Session | None = None

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

    def encode_states(
        self, units: Sequence[Unit], *, batch_tokens: int = 1_024
    ) -> list[TokenStates]:
        """The states of the tokens of `units`, in this thread; windows over what is too long.

        Raises InvalidInput and InferenceFailed as `encode` does.
        """
        prepared = finished(self.preparer.state_steps(units))
        states = np.empty(len(prepared.rows), object)
        for batch in plan_batches([len(row) for row in prepared.rows], batch_tokens):
            for index, one in zip(
                batch, self.infer([prepared.rows[index] for index in batch]), strict=True
            ):
                states[index] = one
        return prepared.finish(states)

    def prepare(self, units: Sequence[Unit], options: Options) -> Prepared:
        """Route, tokenise and cut `units` into rows that differ; InvalidInput names the text."""
        return self.preparer.prepare(units, options)

    def warm_up(self, batch_tokens: int) -> None:
        """Run a full batch of short rows and one of the longest, so that no request pays for it.

        Runtimes choose kernels and take memory when they first meet a size.
        """
        manifest = self.manifest
        longest = max(adapter.max_tokens for adapter in manifest.adapters)
        token = (manifest.tokenizer.pad_token_id + 1) % manifest.vocabulary_size
        for tokens in (min(_SHORT_TOKENS, longest), longest):
            row = Row(pack([token] * tokens), manifest.adapters[0].row)
            self.infer([row] * max(1, batch_tokens // tokens))

    def open_beside(self) -> None:
        """Get ready to run short batches beside long ones, where the runtime can: `load_beside`.

        Raises whatever the runtime raises.
        """
        self._beside = self._session.beside()

    @property
    def load_beside(self) -> Load | None:
        """`load` for batches that wait for no other; None unless `open_beside` found a way."""
        return None if self._beside is None else partial(self._load, self._beside)

    def infer(self, rows: Sequence[Row]) -> Vectors:
        """Run one batch through the model: (rows, dimension); InferenceFailed, never fewer rows."""
        vectors = self.load(rows)()
        if len(vectors) != len(rows):
            raise InferenceFailed(f"the model gave {len(vectors)} vectors for {len(rows)} rows")
        return vectors

    def load(self, rows: Sequence[Row]) -> Callable[[], Vectors]:
        """Pad one batch; what is returned runs the model over it: (rows, dimension).

        Where a row wants its states it is an array of arrays: (tokens, dimension) for such a row,
        (dimension,) for the others.
        """
        return self._load(self._session, rows)

    def _load(self, session: Session, rows: Sequence[Row]) -> Callable[[], Vectors]:
        batch = self._tokenizer.pad(rows)
        if any(row.states for row in rows):
            return partial(_infer_states, session, batch, rows)
        if all(row.normalize for row in rows):
            return partial(session.embed, batch)
        return partial(_infer_means, session, batch, np.array([[row.normalize] for row in rows]))


def _infer_states(session: Session, batch: Batch, rows: Sequence[Row]) -> Vectors:
    embedding, states = session.embed_with_tokens(batch)
    results = np.empty(len(rows), object)
    for index, row in enumerate(rows):
        if row.states:
            results[index] = states[index, : len(row)].copy()
        elif row.normalize:
            results[index] = embedding[index]
        else:
            results[index] = states[index, : len(row)].mean(axis=0)
    return results


def _infer_means(session: Session, batch: Batch, normalize: NDArray[np.bool_]) -> Vectors:
    # The graph normalises; the vector before that is the masked mean of its token states.
    embedding, states = session.embed_with_tokens(batch)
    mask = batch.attention_mask[:, :, None].astype(np.float32)
    means: Vectors = np.where(mask > 0, states, 0).sum(axis=1) / mask.sum(axis=1)
    return np.where(normalize, embedding, means)


class Engine:
    """The encoder for a server: many requests at once, one queue, nothing long on the event loop.

    Every accepted request ends in its vectors, an error or its caller's cancellation. Must be made
    inside a running event loop.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        batch_tokens: int,
        queue_tokens: int,
        shared_batch_tokens: int | None = None,
        model_threads: int = 1,
        cache_bytes: int = 0,
        lone_tokens: int = 0,
        beside_tokens: int = 128,
    ) -> None:
        self.encoder = encoder
        self._whole_tokens = min(shared_batch_tokens or batch_tokens, batch_tokens)
        self._ledger = TokenLedger(queue_tokens)
        self._batcher = Batcher(
            encoder.load,
            batch_tokens=batch_tokens,
            shared_batch_tokens=shared_batch_tokens,
            threads=model_threads,
            cache_bytes=cache_bytes,
            lone_tokens=lone_tokens,
            beside=encoder.load_beside,
            beside_tokens=beside_tokens,
            measured=self._ledger.measured,
        )
        # Two, so that a request of many megabytes does not hold up the tokens of a short one.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="prepare")
        self._accepting = True
        self._active = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._holders = 0
        self._unheld: asyncio.Event | None = None

    @property
    def ready(self) -> bool:
        """Whether a request would be accepted, if there is room in the queue."""
        return self._accepting and self._batcher.running

    def queue_state(self) -> QueueState:
        """The queue now, and its totals since the engine was made."""
        return replace(
            self._batcher.state(),
            held_tokens=self._ledger.held,
            limit_tokens=self._ledger.limit,
            tokens_per_s=self._ledger.throughput,
            refused_requests=self._ledger.refused,
        )

    async def encode(
        self,
        units: Sequence[Unit],
        options: Options | None = None,
        priority: Priority = Priority.INTERACTIVE,
    ) -> Encoded:
        """Embed `units`: float32 vectors (units, dimension), and facts of each.

        Raises InvalidInput and InferenceFailed as `Encoder.encode` does; Overloaded while the queue
        is full; TooLarge where the request would not fit the empty queue; NotReady when stopping.
        """
        steps = self.encoder.preparer.steps(units, options or Options())
        return await self._accepted(steps, units, self._submit_as(priority))

    async def encode_repeatably(
        self, units: Sequence[Unit], options: Options | None = None
    ) -> Encoded:
        """`encode` for a job: the same units have the same vectors, to the last bit, whatever else
        is asked for at the time.

        Their batches hold nothing else, and are always as small as beside more urgent requests.
        """
        steps = self.encoder.preparer.steps(units, options or Options())
        return await self._accepted(steps, units, self._submit_wholes)

    async def encode_states(
        self, units: Sequence[Unit], priority: Priority = Priority.INTERACTIVE
    ) -> list[TokenStates]:
        """The states of the tokens of `units`; windows over what is too long for its adapter.

        They take as much memory as tokens times dimension: ask for some texts at a time. Raises as
        `encode` does.
        """
        steps = self.encoder.preparer.state_steps(units)
        return await self._accepted(steps, units, self._submit_as(priority))

    def hold(self) -> None:
        """Keep the engine until `release`: `retire` waits for that, and `encode` works until it."""
        self._holders += 1

    def release(self) -> None:
        """End what `hold` began."""
        self._holders -= 1
        if not self._holders and self._unheld is not None:
            self._unheld.set()

    async def retire(self) -> None:
        """Serve those that hold the engine, to whom nobody may be added any more, then close."""
        self._unheld = asyncio.Event()
        if self._holders:
            await self._unheld.wait()
        await self.close()

    async def close(self) -> None:
        """Refuse new requests, end those that were accepted, and stop."""
        self._accepting = False
        try:
            await self._idle.wait()
        finally:
            await self._batcher.close()
            self._threads.shutdown(wait=False)

    async def _accepted(
        self,
        steps: Generator[None, None, _Preparation[_Result]],
        units: Sequence[Unit],
        submit: _Submit,
    ) -> _Result:
        """Carry a request through, unless the service is stopping."""
        if not self._accepting:
            raise NotReady("the service is stopping; send the request to another instance")
        self._active += 1
        self._idle.clear()
        try:
            return await self._carry(steps, units, submit)
        finally:
            self._active -= 1
            if not self._active:
                self._idle.set()

    async def _carry(
        self,
        steps: Generator[None, None, _Preparation[_Result]],
        units: Sequence[Unit],
        submit: _Submit,
    ) -> _Result:
        limit = self._ledger.limit
        characters = sum(len(unit.text) for unit in units)
        with self._ledger.hold(min(1 + characters // _CHARACTERS_PER_TOKEN, limit)) as correct:
            if characters <= _INLINE_CHARACTERS:
                prepared = finished(steps)
            else:
                prepared = await self._prepare(steps)
            if prepared.tokens > limit:
                raise TooLarge(
                    f"the request has {prepared.tokens} tokens and the queue takes {limit} in all "
                    "(POLYGRAIN_QUEUE_TOKENS); send fewer or shorter texts at a time"
                )
            correct(prepared.tokens)
            vectors = await submit(prepared.rows)
            if len(prepared.rows) <= _INLINE_ROWS:
                return prepared.finish(vectors)
            return await self._off_loop(partial(prepared.finish, vectors))

    def _submit_as(self, priority: Priority) -> _Submit:
        return partial(self._batcher.submit, priority=priority)

    async def _submit_wholes(self, rows: Sequence[Row]) -> Vectors:
        """The vectors of `rows` in batches that follow from their lengths alone."""
        batches = [
            batch[start : start + MAX_WHOLE_ROWS]
            for batch in plan_batches([len(row) for row in rows], self._whole_tokens)
            for start in range(0, len(batch), MAX_WHOLE_ROWS)
        ]
        vectors = np.empty((len(rows), self.encoder.manifest.dimension), np.float32)
        tasks = [
            asyncio.create_task(
                self._batcher.submit([rows[place] for place in batch], Priority.JOB, whole=True)
            )
            for batch in batches
        ]
        try:
            for batch, found in zip(batches, await asyncio.gather(*tasks), strict=True):
                vectors[batch] = found
        finally:
            for task in tasks:
                task.cancel()
        return vectors

    async def _prepare(
        self, steps: Generator[None, None, _Preparation[_Result]]
    ) -> _Preparation[_Result]:
        """Prepare in other threads, step by step, so that nobody waits for a large request."""
        prepared = None
        while prepared is None:
            prepared = await self._off_loop(partial(_advance, steps))
        return prepared

    async def _off_loop(self, function: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)


def _advance(steps: Generator[None, None, _Result]) -> _Result | None:
    """Take one step; what it comes to after the last."""
    try:
        next(steps)
    except StopIteration as end:
        result: _Result = end.value
        return result
    return None
