"""Write files and folders so that a cut leaves the old one or the new one, never a half."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from models.disk import sync


def replace(target: Path, write: Callable[[Path], object]) -> None:
    """Have `write` make a file or folder beside `target`, sync it, and rename it into place: what
    stands at `target` is always whole. A folder must not exist yet."""
    staged = target.with_name(f".{target.name}.new")
    if staged.is_dir():
        shutil.rmtree(staged)  # a cut left it
    write(staged)
    for file in [*staged.rglob("*"), staged] if staged.is_dir() else [staged]:
        sync(file)
    staged.replace(target)
    sync(target.parent)


def save_array(target: Path, array: np.ndarray[Any, Any]) -> None:
    """Write `array` as an .npy file of exactly that name."""
    with target.open("wb") as file:
        np.save(file, array)
