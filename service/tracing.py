"""Spans of OpenTelemetry, one for each request; imported only where the settings ask for traces."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.settings import Settings, SettingsError
from service.telemetry import Work

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_SCOPE = "polygrain"


def provider_of(settings: Settings) -> TracerProvider:
    """A provider whose spans are sent to `settings.traces_endpoint`, in batches, off the loop.

    OpenTelemetry's own variables (OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER and so on) hold too.
    Raises SettingsError where the extra `otel` is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SettingsError(
            f"POLYGRAIN_TRACES_ENDPOINT is set and {error.name} is not installed; install the "
            "extra: pip install 'polygrain[otel]'"
        ) from None
    named = Resource({SERVICE_NAME: _SCOPE}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=named)
    exporter = OTLPSpanExporter(endpoint=settings.traces_endpoint)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


class Tracing:
    """Middleware that makes a span of each request, part of the caller's trace where it sent one.

    A span holds what the log line holds, never a text.
    """

    def __init__(self, app: ASGIApp, provider: TracerProvider) -> None:
        self._app = app
        self._provider = provider
        self._tracer = provider.get_tracer(_SCOPE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request inside a span."""
        if scope["type"] != "http":
            try:
                await self._app(scope, receive, send)
            finally:
                # The application has ended: what is still to be sent is sent, off the loop.
                await asyncio.to_thread(self._provider.shutdown)
            return
        from opentelemetry.trace import SpanKind, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carried = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in (b"traceparent", b"tracestate")
        }
        context = TraceContextTextMapPropagator().extract(carried)
        work: Work = scope["state"]["work"]
        with self._tracer.start_as_current_span(
            scope["method"],
            context,
            kind=SpanKind.SERVER,
            attributes={"http.request.method": scope["method"]},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:

            async def send_and_note(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        span.set_status(StatusCode.ERROR)
                await send(message)

            try:
                await self._app(scope, receive, send_and_note)
            except Exception:
                span.set_status(StatusCode.ERROR)
                raise
            finally:
                span.set_attributes(_attributes(scope, work))
                if work.route is not None:
                    span.update_name(f"{scope['method']} {work.route}")


def _attributes(scope: Scope, work: Work) -> dict[str, Any]:
    known = {
        "http.route": work.route,
        "polygrain.request_id": scope["state"]["request_id"],
        "polygrain.items": work.items,
        "polygrain.tokens": work.tokens,
        "polygrain.key": work.caller,
    }
    return {name: value for name, value in known.items() if value is not None}
