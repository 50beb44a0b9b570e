"""The `polygrain` command: the server, and the same work on files without one."""

from __future__ import annotations

import gc
import logging
import math
import os
import re
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar, get_args

import click

from models.bundle import Bundle, BundleError
from service.api.align_schemas import (
    LANGUAGE_PATTERN,
    MOST_MERGED,
    LevelName,
    MethodName,
    ScoreName,
)
from service.api.schemas import LongTextName, TextGranularity
from service.collection_cli import collection_group
from service.demo_cli import demo
from service.errors import PolygrainError
from service.jobs_cli import jobs_group
from service.keys_cli import keys_group
from service.mine_cli import mine
from service.security.guard import check_exposure
from service.settings import (
    DeviceName,
    PrecisionName,
    RuntimeName,
    Settings,
    SettingsError,
    read_settings,
    unknown_variables,
)
from service.supervisor import Report, Supervisor, WorkerFailed, exit_in_peace
from service.telemetry import configure_logging

# The model's runtime, numpy and the server are imported by the commands that need them: `--help`
# answers at once, and the supervisor of several workers stays small and without threads.
if TYPE_CHECKING:
    from service.encoding.encoder import Encoder

logger = logging.getLogger(__name__)

# Connections that wait to be accepted.
_BACKLOG = 2_048

_Command = TypeVar("_Command", bound=Callable[..., None])


class _OneLineErrors(click.Group):
    """A group whose commands end in one line on standard error where a user can mend the cause."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  (click's own signature)
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            raise click.UsageError(str(error)) from None
        except (PolygrainError, BundleError, WorkerFailed) as error:
            raise click.ClickException(str(error)) from None


def _bundle_option(command: _Command) -> _Command:
    return click.option(
        "--bundle", type=click.Path(path_type=Path), help="Folder of the bundle to use."
    )(command)


def _threads_option(command: _Command) -> _Command:
    return click.option(
        "--threads", type=int, help="Cores that the model uses.  [default: all available]"
    )(command)


def _model_options(command: _Command) -> _Command:
    """What computes the model; docs/precisions.md tells what `auto` takes."""
    for name, allowed, what in (
        ("device", DeviceName, "What the model is computed on."),
        ("precision", PrecisionName, "The arithmetic that it is computed in."),
        ("runtime", RuntimeName, "The library that computes it."),
    ):
        values = ", ".join(get_args(allowed))
        command = click.option(f"--{name}", help=f"{what} {values}.  [default: auto]")(command)
    return command


def _granularity_option(command: _Command) -> _Command:
    return click.option(
        "--granularity",
        type=click.Choice(get_args(TextGranularity)),
        default="auto",
        show_default=True,
        help="Which adapter reads the texts.",
    )(command)


def _skip_blank_option(command: _Command) -> _Command:
    return click.option(
        "--skip-blank", is_flag=True, help="Leave blank lines out instead of stopping at one."
    )(command)


def _finite(
    context: click.Context, parameter: click.Parameter, value: float | None
) -> float | None:
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is no finite number")
    return value


def _two_languages(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[str, str] | None:
    if value is None:
        return None
    names = value.split(",")
    if len(names) != 2 or not all(re.fullmatch(LANGUAGE_PATTERN, name) for name in names):
        raise click.BadParameter(f"{value!r} is not two languages; give them as en,de")
    return names[0], names[1]


@click.group(cls=_OneLineErrors)
@click.version_option(package_name="polygrain", message="polygrain %(version)s")
def main() -> None:
    """Embed and align text in many languages, one adapter for each granularity.

    Every setting may also come from the environment, as POLYGRAIN_NAME.
    """


@main.command()
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
@_bundle_option
@_model_options
@_threads_option
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


@main.command()
@click.argument("file", type=click.File("rb"), default="-")
@_granularity_option
@click.option("--adapter", help="An adapter by name, instead of a granularity.")
@click.option(
    "--long-text",
    type=click.Choice(get_args(LongTextName)),
    default="window",
    show_default=True,
    help="What becomes of a text longer than its adapter takes.",
)
@click.option("--normalize/--no-normalize", default=True, help="Whether vectors have length 1.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a float32 array, one row for each text, instead of JSON lines.",
)
@_skip_blank_option
@_bundle_option
@_model_options
@_threads_option
def embed(
    file: IO[bytes],
    granularity: str,
    adapter: str | None,
    long_text: str,
    normalize: bool,
    out: Path | None,
    skip_blank: bool,
    **given: object,
) -> None:
    """Embed the lines of FILE (or - for standard input), each line a text.

    Writes JSON lines with the line's number, its vector and how it was embedded, or with
    --out X.npy an array. A blank line is an error unless --skip-blank; then an array has no row
    for it.
    """
    if out is not None and out.suffix != ".npy":
        raise click.BadParameter(f"{out} does not end in .npy", param_hint="--out")
    if adapter is not None and granularity != "auto":
        raise click.UsageError("--adapter and --granularity exclude each other; give one")
    settings = read_settings(given)
    from service.encoding.encoder import Options
    from service.encoding.tokenizer import LongText
    from service.files import Reading, embed_lines

    reading = Reading(granularity, adapter, skip_blank)
    embed_lines(file, reading, Options(LongText(long_text), normalize), out, settings)


@main.command()
@click.argument("source", type=click.File("rb"))
@click.argument("target", type=click.File("rb"))
@_granularity_option
@click.option(
    "--level",
    type=click.Choice(get_args(LevelName)),
    default="text",
    show_default=True,
    help="Lines in any order; sentences of documents, in order; or words of parallel lines.",
)
@click.option("--raw", is_flag=True, help="Each file is one text, to be split into sentences.")
@click.option(
    "--method",
    type=click.Choice(get_args(MethodName)),
    help="How pairs are chosen.  [default: one_to_one; argmax for words]",
)
@click.option(
    "--score",
    type=click.Choice(get_args(ScoreName)),
    help="What pairs are ranked by.  [default: margin_ratio; cosine for words]",
)
@click.option(
    "-k",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Neighbours that a margin is measured over.",
)
@click.option(
    "--threshold",
    type=float,
    callback=_finite,
    help="Leave pairs with a lower score out.",
)
@click.option(
    "--min-probability",
    type=click.FloatRange(0, 1),
    callback=_finite,
    help="Leave less likely pairs out; for bundles that are calibrated.",
)
@click.option(
    "--languages",
    metavar="A,B",
    callback=_two_languages,
    help="The languages of SOURCE and TARGET, such as en,de.",
)
@click.option(
    "--max-merge",
    type=click.IntRange(1, MOST_MERGED),
    default=4,
    show_default=True,
    help="Neighbouring sentences of a document that may be taken as one.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["tsv", "jsonl"]),
    default="tsv",
    show_default=True,
    help="What is written to standard output.",
)
@click.option(
    "--html",
    "page",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a page too, with both sides, lines between them, and scores.",
)
@_skip_blank_option
@_bundle_option
@_model_options
@_threads_option
def align(
    source: IO[bytes],
    target: IO[bytes],
    granularity: str,
    level: str,
    raw: bool,
    method: str | None,
    score: str | None,
    k: int,
    threshold: float | None,
    min_probability: float | None,
    languages: tuple[str, str] | None,
    max_merge: int,
    form: str,
    page: Path | None,
    skip_blank: bool,
    **given: object,
) -> None:
    """Pair what SOURCE and TARGET have in common: lines, sentences of documents, or words.

    Writes tab-separated lines: score, cosine, number in SOURCE, number in TARGET, source text,
    target text; lines in any order the best first, sentences of documents in order. Of words:
    cosine, line, where they begin and end in the source, the same in the target, source word,
    target word. A tab inside a text is written as a space.
    """
    settings = read_settings(given)
    from service.align_files import Output, align_files
    from service.alignment.wanted import Wanted
    from service.files import Reading

    wanted = Wanted.of(
        level,
        method,
        score,
        k=k,
        threshold=threshold,
        min_probability=min_probability,
        languages=languages,
        max_merge=max_merge,
    )
    reading = Reading(granularity, skip_blank=skip_blank)
    align_files(source, target, reading, wanted, settings, Output(form, page), raw=raw)


@main.command()
@_bundle_option
@_model_options
def info(**given: object) -> None:
    """Describe the bundle and the limits, as the service's /info does."""
    settings = read_settings(given)
    import orjson

    from service.api.ops import describe
    from service.encoding.session import Wish, choose, look

    manifest = Bundle.open(settings.bundle).manifest
    wish = Wish.of(settings)
    choice = choose(wish, look(wish), manifest)
    click.echo(orjson.dumps(describe(manifest, choice, settings), option=orjson.OPT_INDENT_2))


main.add_command(mine)
main.add_command(collection_group)
main.add_command(demo)
main.add_command(jobs_group)


@main.group(name="bundle")
def bundle_group() -> None:
    """Look after bundles."""


@bundle_group.command()
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option("--url", help="The service.  [default: where the settings say it listens]")
def use(path: Path | None, url: str | None) -> None:
    """Have a running service serve the bundle at PATH, without a failed request.

    Without PATH, the one that it was started with, read anew. Where the service asks for keys,
    POLYGRAIN_API_KEY holds one with the scope admin. A relative PATH counts from here; the service
    opens it on its own machine.
    """
    from service.remote import use_bundle

    settings = read_settings()
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = url or f"http://{host}:{settings.port}"
    served = use_bundle(address, None if path is None else path.absolute())
    click.echo(f"OK {served['name']} {served['version']} is served at {address}")


@bundle_group.command()
@click.argument("path", type=click.Path(path_type=Path))
def verify(path: Path) -> None:
    """Check every file of the bundle at PATH against its manifest."""
    manifest = Bundle.open(path).manifest
    click.echo(f"OK {manifest.name} {manifest.version}: {len(manifest.files)} files match")


main.add_command(keys_group)
