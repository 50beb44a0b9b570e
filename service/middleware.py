"""What stands between the server and the routes; nothing that the settings do not ask for."""

from __future__ import annotations

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from service.settings import Settings, SettingsError
from service.telemetry import REQUEST_ID_HEADER, Observer, RequestLog

# What a page may send and see beyond what browsers allow by themselves.
_SENT = ("Authorization", "X-API-Key", "Content-Type", REQUEST_ID_HEADER)
_SEEN = (REQUEST_ID_HEADER, "Retry-After")


def middleware_of(settings: Settings, observe: Observer) -> list[Middleware]:
    """The middleware that the settings ask for, outermost first.

    Raises SettingsError where traces are asked for and cannot be made.
    """
    chosen = [Middleware(RequestLog, observe=observe)]
    if settings.traces_endpoint is not None:
        from service.tracing import Tracing, provider_of

        chosen.append(Middleware(Tracing, provider=provider_of(settings)))
    if settings.cors_origins is not None:
        chosen.append(
            Middleware(
                CORSMiddleware,
                allow_origins=_origins(settings.cors_origins),
                allow_methods=("GET", "POST", "PUT", "DELETE"),
                allow_headers=_SENT,
                expose_headers=_SEEN,
            )
        )
    return chosen


def _origins(text: str) -> list[str]:
    origins = [origin.strip() for origin in text.split(",")]
    for origin in origins:
        if origin != "*" and ("://" not in origin or origin.endswith("/")):
            raise SettingsError(
                f"POLYGRAIN_CORS_ORIGINS has {origin[:60]!r}; give origins such as "
                "https://example.org with commas between, without a path, or *"
            )
    return origins
