"""A worker's part in a change of the bundle: it opens, and takes when all the others can too."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.datastructures import State

from service.encoding.encoder import Encoder
from service.errors import BundleRefused, Conflict, NotReady, PolygrainError
from service.processes.control import Control
from service.swapping import Swapper

logger = logging.getLogger(__name__)


class Follower:
    """Does what the supervisor says; made on the event loop and used there alone."""

    def __init__(self, control: Control, swapper: Swapper) -> None:
        self._control = control
        self._swapper = swapper
        self._loop = asyncio.get_running_loop()
        self._opened: Encoder | None = None
        self._taken: dict[str, Any] = {}
        self._asked: asyncio.Future[dict[str, Any]] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def use(self, path: Path | None = None) -> dict[str, Any]:
        """Have all workers serve the bundle at `path`, or the configured one; what it is.

        Raises BundleRefused where one of them cannot, Conflict while another change is made.
        """
        if self._asked is not None:
            raise Conflict("another bundle is being opened; ask again when it is served")
        self._asked = self._loop.create_future()
        try:
            self._control.send("use", "" if path is None else str(path))
            return await self._asked
        finally:
            self._asked = None

    def hear(self, kind: str, words: list[str]) -> None:
        """Do what one message says."""
        match kind:
            case "open":
                task = self._loop.create_task(self._open(Path(words[0])))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case "take" if self._opened is not None:
                self._taken, self._opened = self._swapper.take(self._opened), None
            case "drop":
                self._opened = None
            case "result" if self._asked is not None and not self._asked.done():
                self._answer(self._asked, *words)

    def left(self) -> None:
        """The supervisor has ended: nobody will answer what it was asked."""
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(NotReady("the service is stopping; no bundle was changed"))

    async def _open(self, path: Path) -> None:
        try:
            self._opened = await self._swapper.open(path)
        except PolygrainError as error:
            self._control.send("refused", error.message)
        else:
            self._control.send("opened")

    def _answer(self, asked: asyncio.Future[dict[str, Any]], outcome: str, reason: str) -> None:
        if outcome == "yes":
            asked.set_result(self._taken)
        elif outcome == "busy":
            asked.set_exception(Conflict("another bundle is being opened; ask again later"))
        else:
            asked.set_exception(BundleRefused(reason, "path"))


def follow(control: Control, state: State, stop: Callable[[], None]) -> None:
    """Make this worker follow its supervisor, on the running event loop, until that ends.

    Then `stop` is called, in another thread.
    """
    follower = Follower(control, state.swapper)
    state.use_bundle = follower.use
    loop = asyncio.get_running_loop()

    def listen() -> None:
        while (messages := control.receive()) is not None:
            for kind, *words in messages:
                try:
                    loop.call_soon_threadsafe(follower.hear, kind, words)
                except RuntimeError:  # the loop has ended, and so will this process
                    return
        stop()
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(follower.left)

    threading.Thread(target=listen, name="supervisor", daemon=True).start()
