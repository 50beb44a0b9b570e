"""A worker's side of the socket pair that it shares with its supervisor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from service.processes.control import Control

_REASON_CHARACTERS = 4_096


@dataclass(frozen=True, slots=True)
class Report:
    """A worker's side: what it tells its supervisor, and which bundle it shall open."""

    control: Control
    number: int
    bundle: Path

    def warm(self) -> None:
        """Tell that the model has run; returns when this worker may listen.

        Raises SystemExit where the supervisor ended or stops meanwhile.
        """
        self.control.send("warm")
        # Nothing but leave to go is sent before it.
        if self.control.receive() is None:
            raise SystemExit(0)

    def listening(self) -> None:
        """Tell that connections are accepted from now on."""
        self.control.send("listening")

    def failed(self, reason: str) -> None:
        """Tell in one line why this worker ends before it is warm."""
        self.control.send("failed", reason[:_REASON_CHARACTERS])


def exit_in_peace(number: int, frame: FrameType | None) -> None:
    """A signal handler: end with 0, which is what stopping on demand is."""
    raise SystemExit(0)
