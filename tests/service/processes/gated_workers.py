"""`polygrain serve` whose warm model waits, in whichever worker, until a file exists.

A program for `test_supervisor.py`: the first argument is the file, the rest is the command line.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from service.cli import main
from service.processes.report import Report

# Never in the supervisor, which forks: the model's runtime starts threads.
if TYPE_CHECKING:
    from service.encoding.session import Session, Vectors
    from service.encoding.tokenizer import Batch

_GATE = Path(sys.argv.pop(1))
_warm = Report.warm


def _warm_and_close_the_gate(self: Report) -> None:
    from service.encoding.session import Session

    embed = Session.embed

    def embed_behind_the_gate(self: Session, batch: Batch) -> Vectors:
        sys.stderr.write(f"entered pid={os.getpid()}\n")
        sys.stderr.flush()
        while not _GATE.exists():
            time.sleep(0.01)
        return embed(self, batch)

    Session.embed = embed_behind_the_gate  # type: ignore[method-assign]
    _warm(self)


if __name__ == "__main__":
    Report.warm = _warm_and_close_the_gate  # type: ignore[method-assign]
    main()
