"""One answer to /metrics for all workers, whichever of them is asked.

Each worker answers on a socket of its own in a folder that the supervisor made for them alone; who
is asked by Prometheus asks the others, and marks every sample with the number of its worker. Sums
over workers are right at any moment, as one worker's own would not be: Prometheus meets another
one at each scrape.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path

# How long a worker that is asked may take; it may be busy, or have died.
_PATIENCE_S = 2.0
_SAMPLE = re.compile(rb"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$")

Text = Callable[[], Awaitable[bytes]]


@contextlib.asynccontextmanager
async def among(folder: Path, number: int, own: Text) -> AsyncIterator[Text]:
    """Answer the other workers with `own`; yields what asks them all."""
    place = folder / f"{number}.sock"
    # Left behind by the worker that had this number before.
    place.unlink(missing_ok=True)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(await own())
            await writer.drain()
        writer.close()

    async def everybody() -> bytes:
        others = [path for path in sorted(folder.glob("*.sock")) if path != place]
        texts = await asyncio.gather(own(), *map(_ask, others))
        numbers = [str(number), *(path.stem for path in others)]
        return merged({n: text for n, text in zip(numbers, texts, strict=True) if text})

    server = await asyncio.start_unix_server(answer, place)
    try:
        yield everybody
    finally:
        server.close()
        place.unlink(missing_ok=True)


async def _ask(place: Path) -> bytes:
    """The metrics of the worker at `place`; nothing where it does not answer."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            reader, writer = await asyncio.open_unix_connection(place)
            try:
                return await reader.read()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return b""


def merged(texts: dict[str, bytes]) -> bytes:
    """Metrics of several workers, by their numbers, as one text, in which each family stands once.

    Raises ValueError for a line that is no sample.
    """
    heads: dict[bytes, list[bytes]] = {}
    samples: dict[bytes, list[bytes]] = {}
    for number, text in sorted(texts.items()):
        family = b""
        for line in text.splitlines():
            if line.startswith(b"# "):
                kind, name, _ = line[2:].split(b" ", 2)
                family = name
                known = heads.setdefault(family, [])
                if not any(head.startswith(b"# %b " % kind) for head in known):
                    known.append(line)
            elif line:
                samples.setdefault(family, []).append(_marked(line, number))
    lines: Iterable[bytes] = (
        line for family in heads for line in (*heads[family], *samples.get(family, ()))
    )
    return b"\n".join(lines) + b"\n"


def _marked(sample: bytes, number: str) -> bytes:
    found = _SAMPLE.match(sample)
    if found is None:
        raise ValueError(f"this is no sample: {sample!r}")
    name, labels, value = found.groups()
    own = b'worker="%b"' % number.encode()
    return b"%b{%b} %b" % (name, b",".join(filter(None, (labels, own))), value)
