"""Download files so that a cut costs nothing: what came is kept, and the same call goes on."""

from __future__ import annotations

import hashlib
import http.client
import json
import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tqdm import tqdm

from training.errors import TrainingError

_TIMEOUT_S = 60.0
_CHUNK_BYTES = 1 << 20
_AGENT = "polygrain-train (corpus fetch)"


class NotThere(TrainingError):
    """The server is reached and has no such file."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file as it came."""

    url: str
    bytes: int
    sha256: str


def download(url: str, target: Path) -> Fetched:
    """Write what is at `url` to `target`, or nothing there until it is whole.

    A part that an earlier call left beside `target` is continued where the server can, and only if
    the file is still the same by its ETag or date. Raises NotThere where the server has no such
    file, and TrainingError, with what to do, where it cannot be reached or answers otherwise.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    mark = target.with_name(f".{target.name}.mark")
    try:
        _continue(url, part, mark, target.name)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (404, 410):
            raise NotThere(f"{url}: there is no such file (HTTP {error.code})") from None
        raise TrainingError(f"{url}: the server answers HTTP {error.code}; try later") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise TrainingError(
            f"{url}: {urlsplit(url).netloc} cannot be reached ({reason}); check the network and "
            "give the same command again: it goes on where it stopped"
        ) from None
    with part.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    fetched = Fetched(url, part.stat().st_size, sha256)
    part.replace(target)
    mark.unlink(missing_ok=True)
    return fetched


def _continue(url: str, part: Path, mark: Path, name: str) -> None:
    """Bring `part` to its full length."""
    headers = {"User-Agent": _AGENT, "Accept-Encoding": "identity"}
    have = part.stat().st_size if part.exists() and mark.exists() else 0
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": json.loads(mark.read_text())}
    try:
        answer = _open(url, headers)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        error.close()
        # All bytes are there, or more than there should be: ask anew rather than guess.
        part.unlink()
        _continue(url, part, mark, name)
        return
    with answer:
        go_on = answer.status == 206
        validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
        # A weak ETag does not promise the same bytes.
        if validator is None or validator.startswith("W/"):
            mark.unlink(missing_ok=True)
        else:
            mark.write_text(json.dumps(validator), encoding="utf-8")
        length = answer.headers.get("Content-Length")
        rest = None if length is None else int(length)
        total = None if rest is None else rest + (have if go_on else 0)
        with (
            part.open("ab" if go_on else "wb") as out,
            tqdm.wrapattr(
                answer, "read", total=total, initial=have if go_on else 0, desc=name, disable=None
            ) as body,
        ):
            shutil.copyfileobj(body, out, _CHUNK_BYTES)
    size = part.stat().st_size
    if total is not None and size != total:
        raise TrainingError(
            f"{url}: cut off after {size:,} of {total:,} bytes; give the same command again: "
            "it goes on where it stopped"
        )


def _open(url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    request = urllib.request.Request(url, headers=headers)
    answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    return answer
