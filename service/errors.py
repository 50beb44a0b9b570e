"""Every error a caller can cause or meet, with its place in HTTP.

One tree. Whoever finds the fault raises; `service.app` alone turns it into a response, and
`service.cli` into one line.
"""

from __future__ import annotations

# Longest piece of a caller's own value that an error message repeats.
ECHO_CHARACTERS = 60


class PolygrainError(Exception):
    """The root: one message for people, and how HTTP words it."""

    status = 500
    type = "internal_error"
    code = "internal"

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param

    def headers(self) -> dict[str, str]:
        """Headers that belong with the response."""
        return {}


class MalformedRequest(PolygrainError):
    """The body is no JSON, so nothing in it could be looked at."""

    status = 400
    type = "invalid_request_error"
    code = "malformed_json"


class NotFound(PolygrainError):
    """There is nothing under this path."""

    status = 404
    type = "invalid_request_error"
    code = "not_found"


class MethodNotAllowed(PolygrainError):
    """The path is right, the method is not."""

    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"


class Conflict(PolygrainError):
    """What is asked for contradicts what is there."""

    status = 409
    type = "invalid_request_error"
    code = "conflict"


class NotComparable(PolygrainError):
    """Vectors of different makers would be compared, whose cosines mean nothing."""

    status = 409
    type = "invalid_request_error"
    code = "not_comparable"


class TooLarge(PolygrainError):
    """The request goes over a limit that the settings name."""

    status = 413
    type = "invalid_request_error"
    code = "too_large"


class UnsupportedMediaType(PolygrainError):
    """The body is not declared as JSON."""

    status = 415
    type = "invalid_request_error"
    code = "unsupported_media_type"


class InvalidInput(PolygrainError):
    """A value that is not allowed; the message says what came, what is allowed, what to do."""

    status = 422
    type = "invalid_request_error"
    code = "invalid_value"


class RecallTooLow(InvalidInput):
    """A built index finds less than was asked for; it is not published."""


class IndexDamaged(PolygrainError):
    """A file holds no whole index of ours; whoever opens it sets it aside and builds another."""


class Overloaded(PolygrainError):
    """The queue is full; the same request is fine after `retry_after_s` seconds."""

    status = 429
    type = "overloaded_error"
    code = "queue_full"

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s

    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.retry_after_s)}


class ClientGone(PolygrainError):
    """The client closed its connection before the answer; nobody reads the response."""

    status = 499
    type = "client_error"
    code = "client_closed_request"


class InferenceFailed(PolygrainError):
    """The model did not give an answer for one batch; other requests are not affected."""

    status = 500
    type = "internal_error"
    code = "inference_failed"


class NotReady(PolygrainError):
    """The service does not take work now: it starts or it stops."""

    status = 503
    type = "unavailable_error"
    code = "not_ready"


class StorageUnavailable(PolygrainError):
    """The state folder cannot be read or written now; nothing that was acknowledged is lost."""

    status = 503
    type = "storage_error"
    code = "storage_unavailable"


class StorageFull(PolygrainError):
    """The disk has no room for the write, of which nothing was kept."""

    status = 507
    type = "storage_error"
    code = "storage_full"


def quote(value: object) -> str:
    """`value` as a message may repeat it: its repr on one line, cut to ECHO_CHARACTERS."""
    if isinstance(value, str) and len(value) > ECHO_CHARACTERS:
        return repr(value[:ECHO_CHARACTERS]) + "…"
    text = repr(value)
    return text if len(text) <= 2 * ECHO_CHARACTERS else text[:ECHO_CHARACTERS] + "…"
