"""`polygrain serve` with a model that waits for a line on standard input before each batch.

A program for `test_server.py`, which tells it what to do and watches its standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from service.cli import main
from service.encoding.batching import Priority
from service.encoding.encoder import Encoded, Encoder, Engine, Options, Unit
from service.encoding.session import Session, Vectors
from service.encoding.tokenizer import Batch

_embed = Session.embed
_encode = Engine.encode


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _embed_when_told(self: Session, batch: Batch) -> Vectors:
    _say("inference entered")
    sys.stdin.readline()
    return _embed(self, batch)


async def _encode_and_say(
    self: Engine,
    units: Sequence[Unit],
    options: Options | None = None,
    priority: Priority = Priority.INTERACTIVE,
) -> Encoded:
    _say("accepted")
    return await _encode(self, units, options, priority)


if __name__ == "__main__":
    Encoder.warm_up = lambda self, batch_tokens: None  # type: ignore[method-assign]
    Session.embed = _embed_when_told  # type: ignore[method-assign]
    Engine.encode = _encode_and_say  # type: ignore[method-assign]
    main()
