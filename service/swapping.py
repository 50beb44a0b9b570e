"""The bundle that is served, and the change to another one under load.

The new bundle is opened and warmed beside the old one, then takes the requests that come from then
on; the old one answers those that it has, and is freed. What fails before that changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from starlette.datastructures import State

from models.bundle import BundleError
from service.api.requests import Service
from service.encoding.batching import QueueState
from service.encoding.encoder import Encoder, Engine
from service.encoding.session import Wish, available_cores
from service.errors import BundleRefused, Conflict, NotReady, PolygrainError
from service.settings import Settings, SettingsError

logger = logging.getLogger(__name__)

# Opens a bundle and runs it once, in any thread.
OpenWarm = Callable[[Path], Encoder]


class Swapper:
    """Holds the engine of now in an application's state, and those that end.

    Used on the event loop alone, but for `reload_soon`.
    """

    def __init__(self, state: State, settings: Settings, open_warm: OpenWarm) -> None:
        self._state = state
        self._settings = settings
        self._open_warm = open_warm
        self._loop = asyncio.get_running_loop()
        self._opening = False
        self.retiring: dict[asyncio.Task[None], Engine] = {}
        self._tasks: set[asyncio.Task[object]] = set()
        self._past = QueueState()
        self._closed = False

    async def use(self, path: Path | None = None) -> dict[str, Any]:
        """Serve the bundle at `path`, or the configured one as it is now; returns what it is.

        Raises BundleRefused where it cannot be served, Conflict while another is being opened.
        """
        return self.take(await self.open(path))

    async def open(self, path: Path | None = None) -> Encoder:
        """The bundle at `path`, or the configured one, opened and warm beside that of now."""
        if self._opening:
            raise Conflict("another bundle is being opened; ask again when it is served")
        self._opening = True
        try:
            # Resolved once: a link that is changed meanwhile must not mix two bundles.
            return await asyncio.to_thread(self._open, path or self._settings.bundle)
        finally:
            self._opening = False

    def take(self, encoder: Encoder) -> dict[str, Any]:
        """Give all requests from now on to `encoder`; in one step, between two requests."""
        if self._closed:
            raise NotReady("the service is stopping; it takes no other bundle")
        service: Service = self._state.service
        old, manifest = service.engine, encoder.manifest
        self._state.encoder = encoder
        self._state.service = replace(service, engine=engine_of(self._settings, encoder))
        task = asyncio.create_task(old.retire())
        self.retiring[task] = old
        task.add_done_callback(self._retired)
        logger.info("bundle_served name=%s version=%s", manifest.name, manifest.version)
        return {"name": manifest.name, "version": manifest.version}

    def reload_soon(self) -> None:
        """Open the configured bundle anew; safe to call from a signal handler or a thread."""
        self._loop.call_soon_threadsafe(self._start, self._reload())

    def queue_states(self) -> Sequence[QueueState]:
        """The queue of now first, then those that end, then what ended queues did in all."""
        service: Service | None = getattr(self._state, "service", None)
        now = [service.engine.queue_state()] if service else []
        return [*now, *(engine.queue_state() for engine in self.retiring.values()), self._past]

    async def close(self) -> None:
        """Answer what was accepted, by whichever bundle, and stop."""
        self._closed = True
        service: Service = self._state.service
        await asyncio.gather(service.engine.close(), *self.retiring)

    def _open(self, path: Path) -> Encoder:
        try:
            return self._open_warm(path.resolve())
        except (BundleError, SettingsError, PolygrainError, OSError) as error:
            reason = str(error)
        except Exception as error:
            # A runtime's own fault: whatever it is, the bundle that is served has no part in it.
            logger.exception("bundle_not_opened")
            reason = f"the bundle cannot be opened: {type(error).__name__}"
        raise BundleRefused(f"{reason}; the bundle that was served goes on", "path")

    async def _reload(self) -> None:
        try:
            await self.use()
        except PolygrainError as error:
            logger.error("bundle_not_changed reason=%r", error.message)

    def _start(self, work: Coroutine[Any, Any, object]) -> None:
        task = self._loop.create_task(work)
        # The loop itself keeps no task alive.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _retired(self, task: asyncio.Task[None]) -> None:
        engine = self.retiring.pop(task)
        self._past = _added(self._past, engine.queue_state())
        if not task.cancelled() and (error := task.exception()):
            logger.error("bundle_not_retired reason=%r", str(error))


def opener(settings: Settings) -> OpenWarm:
    """Opens bundles for a worker of the settings: its cores, its runtime, its batches."""
    threads = settings.threads or max(1, available_cores() // settings.workers)

    def open_warm(path: Path) -> Encoder:
        encoder = Encoder.open(path, threads=threads, wish=Wish.of(settings))
        encoder.warm_up(settings.batch_tokens)
        if settings.beside_tokens:
            encoder.open_beside()
        return encoder

    return open_warm


def engine_of(settings: Settings, encoder: Encoder) -> Engine:
    """The engine that the settings describe; on the running event loop."""
    return Engine(
        encoder,
        batch_tokens=settings.batch_tokens,
        queue_tokens=settings.queue_tokens,
        shared_batch_tokens=settings.shared_batch_tokens,
        model_threads=settings.model_threads,
        cache_bytes=settings.cache_bytes,
        lone_tokens=settings.lone_tokens,
        beside_tokens=settings.beside_tokens,
    )


# What is true of a moment; all else adds up.
_MOMENTARY = {"queued_rows", "queued_tokens", "held_tokens", "limit_tokens", "tokens_per_s"}


def _added(one: QueueState, other: QueueState) -> QueueState:
    names = [field.name for field in fields(QueueState) if field.name not in _MOMENTARY]
    return replace(one, **{name: getattr(one, name) + getattr(other, name) for name in names})
