"""`polygrain serve`: the HTTP API, in one process or in several behind one port."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from models.bundle import BundleError
from service.commands.options import bundle_option, model_options, threads_option
from service.errors import PolygrainError
from service.processes.report import Report, exit_in_peace
from service.processes.supervisor import Supervisor
from service.security.guard import check_exposure
from service.settings import Settings, SettingsError, read_settings, unknown_variables
from service.telemetry import configure_logging

# The model's runtime, numpy and the server are imported by the process that serves: the supervisor
# of several workers stays small and without threads.
if TYPE_CHECKING:
    from service.encoding.encoder import Encoder

logger = logging.getLogger(__name__)

# Connections that wait to be accepted.
_BACKLOG = 2_048


@click.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on; 0 takes a free one.  [default: 8080]")
@click.option("--log-level", help="debug, info, warning or error.  [default: info]")
@click.option("--workers", type=int, help="Processes behind the one port.  [default: 1]")
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where collections and jobs are kept.  [default: ~/.local/share/polygrain]",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder whose files jobs may read by path.  [default: none]",
)
@bundle_option
@model_options
@threads_option
def serve(**given: object) -> None:
    """Serve the HTTP API until SIGTERM or SIGINT, then answer what was accepted and stop."""
    settings = read_settings(given)
    check_exposure(settings)
    configure_logging(settings.log_level, processes=settings.workers > 1)
    for name in unknown_variables():
        logger.warning("unknown_setting name=%s", name)
    # uvicorn raises the signal that stopped it once more when it is done; that is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, exit_in_peace)
    # Until the model is open hardly anything becomes garbage; `service.server` goes on collecting.
    gc.disable()
    try:
        (_serve_here if settings.workers == 1 else _serve_with_workers)(settings)
    finally:
        gc.enable()


def _serve_here(settings: Settings) -> None:
    with _bound_socket(settings.host, settings.port) as listener:
        from service.server import serve

        def listen(encoder: Encoder) -> None:
            listener.listen(_BACKLOG)
            manifest = encoder.manifest
            _say_listening(listener, f"bundle={manifest.name} version={manifest.version}")

        serve(settings, listener, when_warm=listen)


def _serve_with_workers(settings: Settings) -> None:
    """Each worker listens with a socket of its own, between which the system shares connections.

    With one socket for all, whichever worker wakes first takes every connection of a burst.
    """
    if not (hasattr(os, "fork") and hasattr(socket, "SO_REUSEPORT")):
        raise click.UsageError("--workers needs a system with fork and SO_REUSEPORT; use 1")
    # A port that somebody listens on is found only by asking for it alone.
    with _bound_socket(settings.host, settings.port) as alone:
        port = alone.getsockname()[1]

    def work(report: Report) -> None:
        from service.server import serve

        own = settings.model_copy(update={"bundle": report.bundle})

        def listen(encoder: Encoder) -> None:
            report.warm()
            listener.listen(_BACKLOG)
            report.listening()

        try:
            with _bound_socket(settings.host, port, shared=True) as listener:
                serve(own, listener, when_warm=listen, report=report, sockets=Path(folder))
        except (PolygrainError, BundleError, SettingsError, click.ClickException) as error:
            report.failed(str(error))
            raise SystemExit(1) from None

    # Bound and never listening, this one holds the port while a worker is away.
    with (
        _bound_socket(settings.host, port, shared=True) as held,
        tempfile.TemporaryDirectory(prefix="polygrain-") as folder,
    ):
        supervisor = Supervisor(
            work,
            settings.workers,
            bundle=settings.bundle,
            stop_timeout_s=settings.shutdown_timeout_s,
        )
        supervisor.run(lambda: _say_listening(held, f"workers={settings.workers}"))


def _say_listening(listener: socket.socket, served: str) -> None:
    host, port = listener.getsockname()[:2]
    logger.info("listening host=%s port=%d %s", host, port, served)


@contextmanager
def _bound_socket(host: str, port: int, *, shared: bool = False) -> Iterator[socket.socket]:
    """A socket on an address, taken before the bundle is loaded; `shared` with others like it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise click.ClickException(
                f"cannot listen on {host} port {port}: {error.strerror}; "
                "choose another with --host and --port"
            ) from None
        yield listener
