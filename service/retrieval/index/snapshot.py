"""The file that an index is saved in.

Little-endian, in this order:

    8 bytes   b"PGINDEX\\x01", the last byte the format's version
    8 bytes   uint64: length of the whole file
    8 bytes   uint64: length of the header
    header    JSON in UTF-8: {"sequence", "dimension", "fields": {…}, "sections": {name: {"dtype",
              "shape", "offset"}}}, padded with spaces so that the first section starts at a
              multiple of 64
    sections  the arrays as they lie in memory, each at its offset from the start of the file,
              a multiple of 64; zeros in between
    32 bytes  SHA-256 of everything before

Readers check all of it, length and checksum first, before any array is made or FAISS is asked.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import struct
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.disk import sync
from service.errors import IndexDamaged

_MAGIC = b"PGINDEX\x01"
_START = struct.Struct("<8sQQ")
_ALIGNMENT = 64
_CHECKSUM_BYTES = 32
_PIECE_BYTES = 1 << 22
_DTYPES = ("float32", "int64", "uint8")

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a file holds: the sequence number that the index reached, plain values, arrays."""

    sequence: int
    dimension: int
    fields: Mapping[str, Any]
    sections: Mapping[str, Array]


def write(path: Path, snapshot: Snapshot) -> None:
    """Write `snapshot` to `path`, whole or not at all, on disk when this returns.

    Raises OSError where the disk does not take it; what stood there before stands then.
    """
    header, offsets, length = _layout(snapshot)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            digest = hashlib.sha256()

            def put(data: bytes | memoryview) -> None:
                digest.update(data)
                file.write(data)

            put(_START.pack(_MAGIC, length, len(header)) + header)
            place = _START.size + len(header)
            for section, array in snapshot.sections.items():
                put(bytes(offsets[section] - place))
                flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
                for start in range(0, len(flat), _PIECE_BYTES):
                    put(flat[start : start + _PIECE_BYTES])
                place = offsets[section] + len(flat)
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
    sync(path.parent)


def read(path: Path) -> Snapshot:
    """What `path` holds, its arrays mapped from the file and not writable.

    Raises IndexDamaged for anything but a whole file that `write` wrote, and OSError where the file
    cannot be opened.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < _START.size + _CHECKSUM_BYTES:
            raise IndexDamaged(f"{path}: {size} bytes are no index; build it again")
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    magic, length, header_length = _START.unpack_from(content)
    if magic != _MAGIC:
        raise IndexDamaged(
            f"{path}: starts with {magic!r}, not {_MAGIC!r}: no index of this program's version; "
            "build it again"
        )
    if length != size:
        raise IndexDamaged(f"{path}: {size} bytes of {length}; build the index again")
    view = memoryview(content)
    digest = hashlib.sha256()
    for start in range(0, size - _CHECKSUM_BYTES, _PIECE_BYTES):
        digest.update(view[start : min(start + _PIECE_BYTES, size - _CHECKSUM_BYTES)])
    if digest.digest() != view[size - _CHECKSUM_BYTES :]:
        raise IndexDamaged(f"{path}: does not match its checksum; build the index again")
    try:
        return _parse(view[: size - _CHECKSUM_BYTES], header_length)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        # A right checksum around a wrong header: another program's, or a later version's.
        raise IndexDamaged(
            f"{path}: its header is not understood ({error}); build the index again"
        ) from None


def _layout(snapshot: Snapshot) -> tuple[bytes, dict[str, int], int]:
    """The header, each section's offset, and the length of the file."""
    sections = {
        name: {"dtype": array.dtype.name, "shape": list(array.shape), "offset": 0}
        for name, array in snapshot.sections.items()
    }
    if wrong := [name for name, section in sections.items() if section["dtype"] not in _DTYPES]:
        raise TypeError(f"sections of other types than {_DTYPES}: {', '.join(wrong)}")
    values = {
        "sequence": snapshot.sequence,
        "dimension": snapshot.dimension,
        "fields": dict(snapshot.fields),
        "sections": sections,
    }
    # Offsets only make the header longer: room for their digits is kept beforehand.
    room = len(json.dumps(values).encode()) + 20 * len(sections)
    header_length = _aligned(_START.size + room) - _START.size
    place = _START.size + header_length
    for name, array in snapshot.sections.items():
        place = _aligned(place)
        sections[name]["offset"] = place
        place += array.nbytes
    header = json.dumps(values).encode().ljust(header_length)
    offsets = {name: int(section["offset"]) for name, section in sections.items()}  # type: ignore[call-overload]
    return header, offsets, place + _CHECKSUM_BYTES


def _parse(view: memoryview, header_length: int) -> Snapshot:
    values = json.loads(bytes(view[_START.size : _START.size + header_length]))
    sections = {}
    for name, section in values["sections"].items():
        if section["dtype"] not in _DTYPES:
            raise ValueError(f"section {name} of type {section['dtype']!r}")
        dtype, shape, offset = np.dtype(section["dtype"]), section["shape"], section["offset"]
        count = int(np.prod(shape, dtype=np.int64))
        sections[name] = np.frombuffer(view, dtype, count, offset).reshape(shape)
    return Snapshot(int(values["sequence"]), int(values["dimension"]), values["fields"], sections)


def _aligned(place: int) -> int:
    return -(-place // _ALIGNMENT) * _ALIGNMENT
