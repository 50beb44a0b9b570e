"""GET / and what the page loads: the playground, from memory and from nowhere else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from service.demo import PASSAGES
from service.errors import NotFound, quote

FILES = Path(__file__).parents[1] / "web"
INDEX = "index.html"

_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".jsonl": "application/jsonl; charset=utf-8",
    ".svg": "image/svg+xml",
}

# Only what this service serves itself is loaded, run or spoken to, and no page may frame it.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


@dataclass(frozen=True, slots=True)
class File:
    """One file of the page, and what its answers say of it."""

    content: bytes
    media_type: str
    etag: str


@cache
def _files() -> dict[str, File]:
    """The files by name; read when somebody first looks, so that starting does not wait."""
    paths = [*FILES.iterdir(), PASSAGES]
    return {path.name: _file(path) for path in paths if path.suffix in _MEDIA_TYPES}


def _file(path: Path) -> File:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return File(content, _MEDIA_TYPES[path.suffix], f'"{digest[:32]}"')


async def web(request: Request) -> Response:
    """A file of the playground; 304 where the caller holds it already."""
    name = request.path_params.get("name", INDEX)
    file = _files().get(name)
    if file is None:
        raise NotFound(f"the playground has no file {quote(name)}; open / for the page")
    headers = {
        "ETag": file.etag,
        # Ask each time, at the cost of a 304: after an upgrade no page runs half of the old one.
        "Cache-Control": "no-cache",
        "Content-Security-Policy": _POLICY,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=headers, media_type=file.media_type)


def web_routes() -> list[BaseRoute]:
    """The page at /, and its styles and modules below /web."""
    return [Route("/", web), Route("/web/{name}", web)]
