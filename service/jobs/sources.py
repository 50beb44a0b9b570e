"""Where the rows of a job come from: uploaded files, and files of the data folder."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from service.errors import InvalidInput, NotFound, quote
from service.jobs.specs import Input
from service.jobs.store import JobStore
from service.rows import (
    COMPRESSIONS,
    Columns,
    Format,
    format_of,
    opened,
    parquet_file,
    read_header,
    suffix_of,
)


@dataclass(frozen=True, slots=True)
class Source:
    """A file to read rows from."""

    path: Path
    # As its owner calls it.
    name: str
    format: Format
    columns: Columns

    @property
    def is_compressed(self) -> bool:
        """Whether its bytes are read through a decompressor."""
        return self.path.suffix in COMPRESSIONS

    @property
    def mark(self) -> str:
        """What differs once the file is another or was written to."""
        status = self.path.stat()
        return f"{status.st_size} {status.st_mtime_ns}"


def file_folder(state: Path, id_: str) -> Path:
    """Where an uploaded file lies."""
    return state / "files" / id_


def stored_name(name: str) -> str:
    """What an uploaded file is called on disk: its ending is kept, which says how to read it."""
    return f"content{suffix_of(name)}"


def find(input_: Input, param: str, store: JobStore, state: Path, data: Path | None) -> Source:
    """The file of an input.

    Raises NotFound where there is none, InvalidInput for a path that leads out of the data folder.
    """
    if input_.file is not None:
        file = store.file(input_.file)
        path, name = file_folder(state, file.id) / stored_name(file.name), file.name
    else:
        name = input_.path or ""
        path = inside(data, name, param)
    format_ = input_.format or format_of(name) or "lines"
    if format_ == "parquet" and path.suffix in COMPRESSIONS:
        raise InvalidInput(
            f"{param} is Parquet inside {path.suffix}; Parquet is compressed by itself: unpack it",
            param,
        )
    return Source(path, name, format_, input_.columns)


def inside(data: Path | None, name: str, param: str) -> Path:
    """The regular file with a path inside the data folder, links followed.

    Raises InvalidInput where that is outside of it, NotFound where there is no such file.
    """
    if data is None:
        raise InvalidInput(
            f"{param} names a path, and this server reads none: upload the file with POST /files, "
            "or have POLYGRAIN_DATA_DIR set",
            param,
        )
    pure = PurePosixPath(name)
    if not name or "\0" in name or pure.is_absolute() or ".." in pure.parts:
        raise InvalidInput(
            f"{param}.path is {quote(name)}; send a path relative to the data folder, without ..",
            f"{param}.path",
        )
    root = Path(os.path.realpath(data.expanduser()))
    path = Path(os.path.realpath(root / pure))
    if not path.is_relative_to(root):
        raise InvalidInput(
            f"{param}.path is {quote(name)}, a link that leads out of the data folder; copy the "
            "file into it",
            f"{param}.path",
        )
    try:
        is_file = stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        is_file = False
    if not is_file:
        raise NotFound(
            f"{param}.path is {quote(name)}, and the data folder has no such file", f"{param}.path"
        )
    return path


def check(source: Source, param: str) -> None:
    """Raise InvalidInput where a look at the file's beginning shows that it cannot be read so."""
    columns: tuple[str, ...] = ()
    try:
        if source.format == "parquet":
            with parquet_file(source.path) as table:
                columns = tuple(table.schema_arrow.names)
        else:
            with opened(source.path) as (file, _):
                first = file.readline(1 << 20)
            if source.format == "tsv":
                columns = read_header(first)
    except InvalidInput as error:
        raise InvalidInput(f"{source.name}: {error.message}", param) from None
    except (OSError, EOFError, ValueError) as error:
        raise InvalidInput(
            f"{source.name} cannot be read: {error}; is it named for its compression?", param
        ) from None
    if columns and source.columns.text not in columns:
        raise InvalidInput(
            f"{source.name} has no column {quote(source.columns.text)}; its columns are "
            f"{', '.join(columns)[:200]}: name the text's in {param}.text_column",
            f"{param}.text_column",
        )
