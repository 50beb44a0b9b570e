"""The bundle: a folder that training writes once and the service opens, never changed in between.

`models/README.md` is the specification; this module is its reader and its writer.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.disk import sync
from models.precision import Fidelity, Precision

# What is written; version 1 is read as well.
FORMAT_VERSION = 2
READ_VERSIONS = (1, 2)
MANIFEST_NAME = "manifest.json"
DEFAULT_BUNDLE = Path(__file__).parent / "polygrain-mini"

# A manifest of a hundred adapters and languages is 50 KB; what is larger is something else.
_MAX_MANIFEST_BYTES = 4 << 20
_MAX_MESSAGE_CHARACTERS = 1000


class BundleError(ValueError):
    """A folder is no bundle that may be served; the message is one line that says why."""

    def __init__(self, message: str) -> None:
        # Held here for every refusal: file names and manifest values come from outside, and may
        # carry line breaks, terminal escapes and megabytes.
        line = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in message)
        if len(line) > _MAX_MESSAGE_CHARACTERS:
            # The start names the bundle, the end tells what is wrong with it.
            line = f"{line[:200]}…{line[200 - _MAX_MESSAGE_CHARACTERS :]}"
        super().__init__(line)


class Granularity(StrEnum):
    """How large a piece of text is; every adapter is trained for one."""

    PHRASE = "phrase"
    SENTENCE = "sentence"
    PARAGRAPH = "paragraph"
    WORD = "word"


# What a whole text can be. `word` adapters serve token vectors only and are never routed to.
TEXT_GRANULARITIES = (Granularity.PHRASE, Granularity.SENTENCE, Granularity.PARAGRAPH)


class Pooling(StrEnum):
    """How token states become one vector, inside the graph."""

    MEAN = "mean"


_FILE_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"

FileName = Annotated[str, Field(pattern=_FILE_NAME_PATTERN)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,99}$")]
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}([_-][A-Za-z0-9]{2,8})*$")]


class _Value(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Adapter(_Value):
    """One row of the stacked adapter weights."""

    name: Name
    granularity: Granularity
    row: Annotated[int, Field(ge=0)]
    # Longest input, special tokens included, that the adapter is meant for.
    max_tokens: Annotated[int, Field(ge=3)]


class Tokenizer(_Value):
    """The tokenizer file, and the id that fills a row up to its batch's length."""

    file: FileName
    pad_token_id: Annotated[int, Field(ge=0)]


class FileRecord(_Value):
    """What a file of the bundle must be, byte for byte."""

    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


Percent = Annotated[float, Field(ge=0, le=100)]


class LayerErrors(_Value):
    """How wrong words are linked by the states of each layer, on development data."""

    adapter: Name
    # Of development data, on which no figure of `scores` should rest alone.
    sentences: Annotated[int, Field(gt=0)]
    # Alignment error rates of mutual best, of every layer from the first on: the mean over the
    # sets, and each set's.
    aer: tuple[Percent, ...]
    aer_by_set: Annotated[dict[str, tuple[Percent, ...]], Field(min_length=1)]


class TokenLayer(_Value):
    """The layer after which the graph's `tokens` are taken, counted from 1."""

    layer: Annotated[int, Field(ge=1)]
    layers: Annotated[int, Field(ge=1)]
    # None where the layer was not chosen by a measurement.
    measured: LayerErrors | None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.layer > self.layers:
            raise ValueError(f"layer {self.layer} of {self.layers}")
        if self.measured is not None:
            rows = {"aer": self.measured.aer, **self.measured.aer_by_set}
            for name, row in rows.items():
                if len(row) != self.layers:
                    raise ValueError(f"{name} has {len(row)} figures for {self.layers} layers")
        return self


class Manifest(_Value):
    """Everything the service must know about a bundle. `models/README.md` explains each field."""

    format_version: int
    name: Name
    version: Annotated[
        str, Field(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+([a-z0-9.+-]*)$", max_length=100)
    ]
    dimension: Annotated[int, Field(gt=0)]
    # Of format version 2, where known: the numbers of dimensions that a vector may be cut to,
    # ascending.
    dimensions: Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(min_length=1)] | None = (
        None
    )
    vocabulary_size: Annotated[int, Field(gt=0)]
    languages: tuple[Language, ...]
    pooling: Pooling
    # Of format version 2, where known; else the last.
    token_layer: TokenLayer | None = None
    adapters: Annotated[tuple[Adapter, ...], Field(min_length=1)]
    routing: dict[Granularity, Name]
    comparable: tuple[tuple[Name, ...], ...]
    graphs: Annotated[dict[Precision, FileName], Field(min_length=1)]
    # Empty in format version 1, which does not know it.
    fidelity: dict[Precision, Fidelity] = {}
    tokenizer: Tokenizer
    model_card: FileName
    provenance: dict[str, Any]
    scores: dict[str, Any]
    calibration: dict[str, Any] | None
    files: dict[FileName, FileRecord]

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        self._check_precisions()
        names = [adapter.name for adapter in self.adapters]
        if len(set(names)) != len(names):
            raise ValueError(f"adapters: names repeat: {', '.join(names)}")
        if sorted(adapter.row for adapter in self.adapters) != list(range(len(names))):
            raise ValueError(f"adapters: rows are not 0 to {len(names) - 1}, each once")
        if set(self.routing) != set(TEXT_GRANULARITIES):
            raise ValueError(f"routing: names not exactly {', '.join(TEXT_GRANULARITIES)}")
        self._check_token_layer(names)
        mentioned = [*self.routing.values(), *(name for group in self.comparable for name in group)]
        if unknown := sorted(set(mentioned) - set(names)):
            raise ValueError(f"routing or comparable: no adapter named {', '.join(unknown)}")
        for granularity, name in self.routing.items():
            if self.adapter(name).granularity is Granularity.WORD:
                raise ValueError(f"routing: {granularity} goes to {name}, a word adapter")
        if len(set(self.languages)) != len(self.languages):
            raise ValueError("languages: some repeat")
        if self.dimensions is not None:
            if self.format_version < 2:
                raise ValueError("dimensions: is a field of format version 2")
            if (*sorted(set(self.dimensions)),) != self.dimensions or (
                self.dimensions[-1] != self.dimension
            ):
                raise ValueError(
                    f"dimensions: {list(self.dimensions)} do not rise to dimension {self.dimension}"
                )
        if self.tokenizer.pad_token_id >= self.vocabulary_size:
            raise ValueError(
                f"tokenizer: pad_token_id {self.tokenizer.pad_token_id} is outside the vocabulary "
                f"of {self.vocabulary_size}"
            )
        needed = {*self.graphs.values(), self.tokenizer.file, self.model_card}
        if missing := sorted(needed - set(self.files)):
            raise ValueError(f"files: no record of {', '.join(missing)}")
        if MANIFEST_NAME in self.files:
            raise ValueError(f"files: {MANIFEST_NAME} cannot list itself")
        return self

    def _check_token_layer(self, names: Collection[str]) -> None:
        if self.token_layer is None:
            return
        if self.format_version < 2:
            raise ValueError("token_layer: is a field of format version 2")
        measured = self.token_layer.measured
        if measured is not None and measured.adapter not in names:
            raise ValueError(f"token_layer: no adapter named {measured.adapter}")

    def _check_precisions(self) -> None:
        told = "fidelity" in self.model_fields_set
        if self.format_version == 1 and (told or set(self.graphs) != {Precision.FLOAT32}):
            raise ValueError("fidelity or graphs: format version 1 knows float32 alone")
        if self.format_version > 1 and not told:
            raise ValueError("fidelity: Field required")
        if Precision.FLOAT32 not in self.graphs:
            raise ValueError("graphs: none of float32, which the others are measured against")
        if Precision.BFLOAT16 in self.graphs:
            raise ValueError("graphs: bfloat16 is an arithmetic of the float32 graph; no own graph")
        measurable = {*self.graphs, Precision.BFLOAT16} - {Precision.FLOAT32}
        if unknown := sorted(set(self.fidelity) - measurable):
            raise ValueError(f"fidelity: of {', '.join(unknown)}, which the bundle does not have")

    @property
    def allowed_dimensions(self) -> tuple[int, ...]:
        """The numbers of dimensions that a caller may ask for: all, where nothing says more."""
        return self.dimensions or (self.dimension,)

    def adapter(self, name: str) -> Adapter:
        """The adapter called `name`; KeyError where there is none."""
        for adapter in self.adapters:
            if adapter.name == name:
                return adapter
        raise KeyError(name)

    def is_comparable(self, one: str, other: str) -> bool:
        """Whether cosines between vectors of these two adapters mean anything."""
        return one == other or any(one in group and other in group for group in self.comparable)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle on disk."""

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path) -> Bundle:
        """Read and verify every byte of the bundle at `path`.

        Raises BundleError, with one line that names the file and what is wrong with it, where the
        folder is not exactly what its manifest says.
        """
        present = _list_folder(path)
        if MANIFEST_NAME not in present:
            raise BundleError(f"bundle {path}: missing {MANIFEST_NAME}; is this a bundle?")
        bundle = cls(path, _read_manifest(path))
        bundle._verify_files(present - {MANIFEST_NAME})
        return bundle

    def file(self, name: str) -> Path:
        """The path of a file that the manifest lists."""
        if name not in self.manifest.files:
            raise KeyError(name)
        return self.path / name

    def graph(self, precision: Precision = Precision.FLOAT32) -> Path:
        """The path of the ONNX graph for `precision`; KeyError where the bundle has none.

        bfloat16 is computed from the graph of float32.
        """
        key = Precision.FLOAT32 if precision is Precision.BFLOAT16 else precision
        return self.file(self.manifest.graphs[key])

    def _verify_files(self, present: set[str]) -> None:
        listed = set(self.manifest.files)
        if missing := listed - present:
            raise BundleError(f"bundle {self.path}: missing {_some(missing)}; copy it again")
        if extra := present - listed:
            raise BundleError(
                f"bundle {self.path}: not in the manifest: {_some(extra)}; remove what is extra"
            )
        # All sizes before any hash: a truncated copy is told at once, not after 100 MB of hashing.
        for name, record in self.manifest.files.items():
            with _open_plain(self.path, name) as file:
                size = os.fstat(file.fileno()).st_size
            if size != record.bytes:
                raise BundleError(
                    f"bundle {self.path}: {name} is {size} bytes, the manifest says "
                    f"{record.bytes}; copy the bundle again"
                )
        for name, record in self.manifest.files.items():
            with _open_plain(self.path, name) as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            if sha256 != record.sha256:
                raise BundleError(
                    f"bundle {self.path}: {name} does not match its sha256; copy the bundle again"
                )


def _list_folder(path: Path) -> set[str]:
    try:
        return set(os.listdir(path))
    except FileNotFoundError:
        raise BundleError(f"bundle {path}: no such folder") from None
    except NotADirectoryError:
        raise BundleError(f"bundle {path}: not a folder; a bundle is one") from None
    except OSError as error:
        raise BundleError(f"bundle {path}: cannot be listed: {error.strerror}") from None
    except ValueError as error:  # A NUL byte in the path.
        raise BundleError(f"bundle {path}: cannot be listed: {error}") from None


@contextmanager
def _open_plain(folder: Path, name: str) -> Iterator[BufferedReader]:
    """A plain file of the bundle `folder`, open; BundleError wherever it cannot be read as one."""
    path = folder / name
    try:
        # Asked before opening: opening a FIFO waits for its writer, perhaps for ever.
        if not stat.S_ISREG(path.lstat().st_mode):
            raise BundleError(f"bundle {folder}: {name} is not a plain file; copy the bundle again")
        with path.open("rb") as file:
            yield file
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise BundleError(f"bundle {folder}: {name} cannot be read: {reason}") from None


def _read_manifest(path: Path) -> Manifest:
    with _open_plain(path, MANIFEST_NAME) as file:
        content = file.read(_MAX_MANIFEST_BYTES + 1)
    return _parse_manifest(path, content)


def _parse_manifest(path: Path, content: bytes) -> Manifest:
    refused = f"bundle {path}: {MANIFEST_NAME}"
    if len(content) > _MAX_MANIFEST_BYTES:
        raise BundleError(f"{refused} is larger than {_MAX_MANIFEST_BYTES} bytes")
    try:
        text = content.decode("utf-8")
        values = json.loads(
            text, object_pairs_hook=_unique, parse_float=_finite, parse_constant=_finite
        )
    except UnicodeDecodeError as error:
        raise BundleError(f"{refused} is not UTF-8: {error}") from None
    except RecursionError:
        raise BundleError(f"{refused} is nested too deeply") from None
    except ValueError as error:
        raise BundleError(f"{refused} is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise BundleError(f"{refused} is not a JSON object")
    version = values.get("format_version")
    # The version is read before the rest: a later format may differ in every other field.
    if type(version) is not int or version not in READ_VERSIONS:
        raise BundleError(
            f"bundle {path}: format_version is {_short(version)}, this program reads "
            f"{' and '.join(map(str, READ_VERSIONS))}; update the program, or export the bundle "
            "again"
        )
    try:
        return Manifest.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise BundleError(f"{refused}: {_first_reason(error)}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of the manifest. A repeated key means two things, and readers differ on which."""
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"key {_short(key)} repeats")
        values[key] = value
    return values


def _finite(literal: str) -> float:
    if not math.isfinite(number := float(literal)):
        raise ValueError(f"{literal[:40]} is not a finite number")
    return number


def _first_reason(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(_shorten(str(part)) for part in first["loc"])
    reason = first["msg"].removeprefix("Value error, ")
    given = first["input"]
    if first["type"] != "missing" and isinstance(given, str | int | float):
        reason = f"{reason}, not {_short(given)}"
    return f"{place}: {reason}" if place else reason


def _some(names: Collection[str]) -> str:
    """The names, at most five of them."""
    shown = ", ".join(_shorten(name) for name in sorted(names)[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


def _short(value: object) -> str:
    return _shorten(repr(value))


def _shorten(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}…"


def write(path: Path, manifest: Mapping[str, Any], files: Mapping[str, Path | bytes]) -> Bundle:
    """Write a bundle to `path`, whole or not at all, and return it opened.

    `manifest` holds every field of `Manifest` but `format_version` and `files`, as JSON values;
    those two are made here. `files` maps each file's name to its content, or to a path to copy it
    from. The folder is staged beside `path`, opened with the reader, compared with what was asked
    for, and renamed.

    Raises FileExistsError where `path` exists (a bundle never changes: choose another folder),
    BundleError where the result would not open, and OSError where a file cannot be read or
    written.
    """
    if os.path.lexists(path):
        raise _exists(path)
    # Before anything is written: a name such as `../x` would land outside the staging folder.
    for name in files:
        if not re.fullmatch(_FILE_NAME_PATTERN, name) or name == MANIFEST_NAME:
            raise BundleError(f"bundle {path}: {_short(name)} cannot name a file of a bundle")
    records = {name: _record_of(content) for name, content in files.items()}
    content = _manifest_bytes(path, manifest, records)
    wanted = _parse_manifest(path, content)

    path.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        for name, source in files.items():
            _write_file(staging / name, source)
        _write_file(staging / MANIFEST_NAME, content)
        if Bundle.open(staging).manifest != wanted:
            raise BundleError(f"bundle {path}: the manifest changes when written and read back")
        staging.chmod(0o755)
        sync(staging)
        _rename(staging, path)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    sync(path.parent)
    return Bundle(path, wanted)


def _exists(path: Path) -> FileExistsError:
    return FileExistsError(f"{path} exists; a bundle is never changed: choose another folder")


def _record_of(content: Path | bytes) -> FileRecord:
    """The record of what was asked for, so that opening the staged copy compares it with that."""
    if isinstance(content, bytes):
        return FileRecord(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    return FileRecord(bytes=content.stat().st_size, sha256=sha256_of(content))


def _manifest_bytes(
    path: Path, manifest: Mapping[str, Any], records: Mapping[str, FileRecord]
) -> bytes:
    values = {**manifest, "format_version": FORMAT_VERSION, "files": dict(records)}
    for name in ("dimensions", "token_layer"):
        if values.get(name) is None:
            values.pop(name, None)  # nothing is said by leaving it out
    # In the specification's order, the format version first, for people who open the file.
    known = {name: values.pop(name) for name in Manifest.model_fields if name in values}
    try:
        text = json.dumps(
            {**known, **values}, indent=2, ensure_ascii=False, allow_nan=False, default=_json_value
        )
        return f"{text}\n".encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BundleError(f"bundle {path}: the manifest cannot be JSON: {error}") from None


def _json_value(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _write_file(target: Path, content: Path | bytes) -> None:
    """Write a file that is on disk when this returns, readable by every user."""
    with target.open("xb") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            with content.open("rb") as source:
                shutil.copyfileobj(source, file)
        file.flush()
        os.fsync(file.fileno())
    target.chmod(0o644)


def _rename(staging: Path, path: Path) -> None:
    try:
        staging.rename(path)
    except OSError:
        # Another writer was quicker; its folder stands.
        if os.path.lexists(path):
            raise _exists(path) from None
        raise


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
