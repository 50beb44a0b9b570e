"""What happens before and after every handler: the key, the limits, and one bundle throughout."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from service.security.guard import Guard
from service.security.keys import Scope
from service.telemetry import Work

Handler = Callable[[Request], Awaitable[Response]]
# `open` is for everybody, keys or none.
ScopeOrOpen = Literal[Scope, "open"]

_BEARER = "bearer "


def admitted(handler: Handler, path: str, needs: ScopeOrOpen) -> Handler:
    """`handler` behind the check of the caller's key, bound to the bundle of now.

    The handler and all it calls see the service as it was when the request came, and the engine
    of that is not closed before the handler has answered: a bundle may change under load without
    a request that fails, or that mixes two.
    """

    async def answer(request: Request) -> Response:
        state, app_state = request.scope["state"], request.app.state
        work: Work = state["work"]
        work.route = path
        caller = None
        if needs != "open":
            guard: Guard = app_state.guard
            presented = _presented(request) if guard.asks_for_keys else None
            caller = guard.admit(presented, needs)
            work.caller = caller.name
        service = state["service"] = getattr(app_state, "service", None)
        if service is not None:
            service.engine.hold()
        try:
            return await handler(request)
        finally:
            if service is not None:
                service.engine.release()
            if caller is not None:
                caller.pay_tokens(work.tokens)

    answer.__doc__ = handler.__doc__
    return answer


def _presented(request: Request) -> str | None:
    """The key that came with a request, if one did."""
    authorization = request.headers.get("authorization", "")
    if authorization[: len(_BEARER)].lower() == _BEARER:
        return authorization[len(_BEARER) :].strip()
    return request.headers.get("x-api-key")
