"""Files on their way in: from a stream to the disk, hashed meanwhile, whole or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from models.disk import sync
from service.errors import InvalidInput, TooLarge, quote
from service.jobs.folder import INCOMING, Jobs
from service.jobs.sources import file_folder, stored_name
from service.jobs.store import StoredFile, new_id
from service.retrieval.database import storage_errors

# What is gathered before a thread writes it.
_WRITE_BYTES = 1 << 20

_NAME_CHARACTERS = 200


def check_name(name: str) -> None:
    """Raise InvalidInput for what is no plain name of a file."""
    if (
        not 0 < len(name) <= _NAME_CHARACTERS
        or "/" in name
        or "\\" in name
        or name.startswith(".")
        or any(ord(character) < 32 or ord(character) == 127 for character in name)
    ):
        raise InvalidInput(
            f"name is {quote(name)}; send the file's own name, without a folder, in at most "
            f"{_NAME_CHARACTERS} characters, such as ?name=texts.tsv.gz",
            "name",
        )


async def receive(
    jobs: Jobs, name: str, declared: int, stream: AsyncIterator[bytes], sha256: str | None = None
) -> StoredFile:
    """Keep what comes as a file; it is on disk when this returns, or nothing is kept.

    `declared` bytes will come, as far as that is known. Raises TooLarge beyond the limits of one
    file or of all, before more than that is written; InvalidInput where the hash is another.
    """
    check_name(name)
    used = await asyncio.to_thread(lambda: sum(file.bytes for file in jobs.store.files()))
    limit = _Limit(jobs, used)
    limit.check(declared)
    incoming = await asyncio.to_thread(_Incoming.begin, jobs, name)
    try:
        async for chunk in stream:
            limit.check(incoming.bytes + len(incoming.waiting) + len(chunk))
            incoming.waiting += chunk
            if len(incoming.waiting) >= _WRITE_BYTES:
                await asyncio.to_thread(incoming.write)
        return await asyncio.to_thread(incoming.keep, jobs, name, sha256)
    except BaseException:
        # Not to be cancelled once more: it takes a moment, and nothing may be left.
        incoming.drop()
        raise


@dataclass(frozen=True, slots=True)
class _Limit:
    jobs: Jobs
    used: int

    def check(self, size: int) -> None:
        settings = self.jobs.settings
        if size > settings.max_file_bytes:
            raise TooLarge(
                f"the file is larger than {settings.max_file_bytes} bytes "
                "(POLYGRAIN_MAX_FILE_BYTES); compress it (.gz, .zst), split it, or put it into the "
                "data folder"
            )
        if self.used + size > settings.max_files_bytes:
            raise TooLarge(
                f"with it the files kept would have more than {settings.max_files_bytes} bytes "
                f"(POLYGRAIN_MAX_FILES_BYTES), and {self.used} are taken; delete some with "
                "DELETE /files/{id}"
            )


class _Incoming:
    """A file that is being written under a name that nothing reads."""

    def __init__(self, folder: Path, file: IO[bytes]) -> None:
        self.waiting = bytearray()
        self.bytes = 0
        self._folder = folder
        self._file = file
        self._hash = hashlib.sha256()

    @classmethod
    def begin(cls, jobs: Jobs, name: str) -> _Incoming:
        _ = jobs.store  # which makes the folders
        folder = jobs.state / "files" / new_id(INCOMING)
        with storage_errors(folder):
            folder.mkdir()
            return cls(folder, (folder / stored_name(name)).open("wb"))

    def write(self) -> None:
        with storage_errors(self._folder):
            self._hash.update(self.waiting)
            self._file.write(self.waiting)
        self.bytes += len(self.waiting)
        self.waiting = bytearray()

    def keep(self, jobs: Jobs, name: str, sha256: Any) -> StoredFile:  # noqa: ANN401
        self.write()
        found = self._hash.hexdigest()
        if sha256 is not None and sha256 != found:
            raise InvalidInput(
                f"the file that came has the sha256 {found}, not {quote(sha256)}; send it again",
                "sha256",
            )
        file = StoredFile(new_id("file"), name, self.bytes, found, time.time())
        with storage_errors(self._folder):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            sync(self._folder)
            target = file_folder(jobs.state, file.id)
            self._folder.rename(target)
            sync(target.parent)
        # From here on it would be left over if this process died, and removed as such.
        jobs.store.add_file(file)
        return file

    def drop(self) -> None:
        self._file.close()
        shutil.rmtree(self._folder, ignore_errors=True)
