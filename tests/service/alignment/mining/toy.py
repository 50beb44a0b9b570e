"""Texts whose vectors are known without a model, and a run over them that waits for its test."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.alignment.mining import Job, Stage, mine

Floats = NDArray[np.float32]
DIMENSION = 24
MODEL = {"bundle": "toy 1"}


def embed(texts: Sequence[str]) -> Floats:
    """Unit rows: near for two lines that end in the same word, whatever stands before it."""
    rows = np.stack([_noise(text.split()[-1]) + 0.6 * _noise(text) for text in texts])
    unit: Floats = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _noise(text: str) -> NDArray[np.float64]:
    seed = int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
    return np.random.default_rng(seed).normal(size=DIMENSION)


def lines(side: str, words: Sequence[int]) -> list[str]:
    """A line for each word."""
    return [f"{side} says w{word}" for word in words]


def job(folder: Path, out: str = "pairs.tsv", block_texts: int = 16) -> Job:
    """A run over `a.txt` and `b.txt` of a folder, in blocks of a few texts."""
    return Job(
        folder / "a.txt",
        folder / "b.txt",
        folder / out,
        folder / "state",
        summary=folder / "summary.html",
        block_texts=block_texts,
    )


def wait(stage: Stage, done: int, total: int) -> None:
    """Say how far the run is, and go on when the test says so."""
    print(stage, done, flush=True)  # noqa: T201
    if not sys.stdin.readline():
        raise SystemExit(1)


def embed_loudly(texts: Sequence[str]) -> Floats:
    """`embed` with a stop in the middle of the work, and what is embedded on standard error."""
    wait(Stage.EMBED_SOURCE, -1, -1)
    sys.stderr.writelines(f"{text}\n" for text in texts)
    return embed(texts)


if __name__ == "__main__":
    mine(job(Path(sys.argv[1])), embed_loudly, MODEL, report=wait)
