"""`polygrain serve` whose model waits, in whichever worker, until a file exists.

A program for `test_supervisor.py`: the first argument is the file, the rest is the command line.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from service.cli import main
from service.encoding.session import Session, Vectors
from service.encoding.tokenizer import Batch

_GATE = Path(sys.argv.pop(1))
_embed = Session.embed


def _embed_behind_the_gate(self: Session, batch: Batch) -> Vectors:
    sys.stderr.write(f"entered pid={os.getpid()}\n")
    sys.stderr.flush()
    while not _GATE.exists():
        time.sleep(0.01)
    return _embed(self, batch)


if __name__ == "__main__":
    Session.embed = _embed_behind_the_gate  # type: ignore[method-assign]
    main()
