"""Vectors of a side's texts on disk: float16, one file for some thousand texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.alignment.mining.lines import Texts
from service.alignment.mining.state import whole_file
from service.alignment.scoring import Floats

# Unit vectors, (texts, dimension), float32.
Embed = Callable[[Sequence[str]], Floats]


@dataclass(frozen=True, slots=True)
class Vectors:
    """The vectors of one side, in blocks that are read when they are asked for."""

    folder: Path
    texts: int
    # Texts of one block: what a killed run embeds again at most, and the side of a tile of cosines.
    block_texts: int

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return -(-self.texts // self.block_texts)

    def block(self, number: int) -> Floats:
        """Unit rows of one block, float32 (up to block_texts, dimension)."""
        half: NDArray[np.float16] = np.load(_file(self.folder, number), mmap_mode="r")
        rows = half.astype(np.float32)
        # Rounding to float16 leaves lengths of 1 ± 0.0005; zero rows stay zero.
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        unit: Floats = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
        return unit


def embed_texts(
    texts: Texts,
    embed: Embed,
    folder: Path,
    block_texts: int,
    progress: Callable[[int, int], None],
) -> Vectors:
    """The vectors of `texts` as `folder` holds them; blocks that it lacks are embedded.

    `progress` gets texts. What `embed` raises stops the run between two blocks.
    """
    folder.mkdir(exist_ok=True)
    for number, start in enumerate(range(0, len(texts), block_texts)):
        path = _file(folder, number)
        end = min(start + block_texts, len(texts))
        if not path.exists():
            progress(start, len(texts))
            with whole_file(path) as file:
                np.save(file, embed(texts.load(start, end)).astype(np.float16))
        progress(end, len(texts))
    return Vectors(folder, len(texts), block_texts)


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.npy"
