"""The `polygrain` command: the server, and the same work on files without one."""

from __future__ import annotations

import itertools
import logging
import math
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Any, TypeVar

import click
import numpy as np
import orjson
import uvicorn

from models.bundle import TEXT_GRANULARITIES, Bundle, BundleError, Granularity
from service.alignment.matching import align_one_to_one
from service.alignment.scoring import Score
from service.api.ops import describe
from service.api.responses import facts_json
from service.app import create_app
from service.encoding.encoder import Encoded, Encoder, Options, Unit
from service.encoding.session import Vectors
from service.encoding.tokenizer import LongText
from service.errors import PolygrainError
from service.settings import Settings, SettingsError, read_settings, unknown_variables
from service.telemetry import configure_logging

logger = logging.getLogger(__name__)

# Lines that are embedded together; enough for full batches, few enough to stream.
_CHUNK_LINES = 1_024

# Strings, because click shows and takes the names of an enumeration's members, not its values.
_GRANULARITIES = ["auto", *map(str, TEXT_GRANULARITIES)]

_Command = TypeVar("_Command", bound=Callable[..., None])


class _OneLineErrors(click.Group):
    """A group whose commands end in one line on standard error where a user can mend the cause."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  (click's own signature)
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            raise click.UsageError(str(error)) from None
        except (PolygrainError, BundleError) as error:
            raise click.ClickException(str(error)) from None


def _bundle_option(command: _Command) -> _Command:
    return click.option(
        "--bundle", type=click.Path(path_type=Path), help="Folder of the bundle to use."
    )(command)


def _threads_option(command: _Command) -> _Command:
    return click.option(
        "--threads", type=int, help="Cores that the model uses.  [default: all available]"
    )(command)


def _granularity_option(command: _Command) -> _Command:
    return click.option(
        "--granularity",
        type=click.Choice(_GRANULARITIES),
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
@_bundle_option
@_threads_option
def serve(**given: object) -> None:
    """Serve the HTTP API until SIGTERM or SIGINT, then answer what was accepted and stop."""
    settings = read_settings(given)
    configure_logging(settings.log_level)
    for name in unknown_variables():
        logger.warning("unknown_setting name=%s", name)
    # uvicorn raises the signal that stopped it once more when it is done; that is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit_in_peace)
    with _bound_socket(settings) as listener:
        encoder = Encoder.open(settings.bundle, threads=settings.threads)
        listener.listen(2_048)
        host, port = listener.getsockname()[:2]
        manifest = encoder.manifest
        logger.info(
            "listening host=%s port=%d bundle=%s version=%s",
            *(host, port, manifest.name, manifest.version),
        )
        try:
            _server(settings, encoder).run(sockets=[listener])
        finally:
            logger.info("stopped")


def _server(settings: Settings, encoder: Encoder) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            create_app(settings, encoder),
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=settings.shutdown_timeout_s,
        )
    )


def _exit_in_peace(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


@contextmanager
def _bound_socket(settings: Settings) -> Iterator[socket.socket]:
    """A socket on the address of the settings, taken before the bundle is loaded."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
        except OSError as error:
            raise click.ClickException(
                f"cannot listen on {settings.host} port {settings.port}: {error.strerror}; "
                "choose another with --host and --port"
            ) from None
        yield listener


@main.command()
@click.argument("file", type=click.File("rb"), default="-")
@_granularity_option
@click.option("--adapter", help="An adapter by name, instead of a granularity.")
@click.option(
    "--long-text",
    type=click.Choice([str(value) for value in LongText]),
    default=str(LongText.WINDOW),
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
    encoder = Encoder.open(settings.bundle, threads=settings.threads)
    if adapter is not None:
        _check_adapter(adapter, encoder)
    options = Options(LongText(long_text), normalize)
    units = (
        (number, Unit(text, f"line {number}", _chosen(granularity), adapter))
        for number, text in _numbered_lines(file, "line", skip_blank)
    )
    chunks = _chunks(units, encoder, options, settings.batch_tokens)
    if out is None:
        _write_json_lines(chunks)
    else:
        _write_array(out, (encoded.vectors for _, encoded in chunks), encoder.manifest.dimension)


def _check_adapter(name: str, encoder: Encoder) -> None:
    adapters = [a.name for a in encoder.manifest.adapters if a.granularity is not Granularity.WORD]
    if name not in adapters:
        raise click.BadParameter(
            f"{name!r} is no adapter of the bundle; use one of {', '.join(adapters)}",
            param_hint="--adapter",
        )


def _chosen(granularity: str) -> Granularity | None:
    return None if granularity == "auto" else Granularity(granularity)


def _chunks(
    units: Iterable[tuple[int, Unit]], encoder: Encoder, options: Options, batch_tokens: int
) -> Iterator[tuple[list[int], Encoded]]:
    """Line numbers and what became of their texts, some lines at a time."""
    remaining = iter(units)
    while chunk := list(itertools.islice(remaining, _CHUNK_LINES)):
        numbers = [number for number, _ in chunk]
        texts = [unit for _, unit in chunk]
        yield numbers, encoder.encode(texts, options, batch_tokens=batch_tokens)


def _write_json_lines(chunks: Iterable[tuple[list[int], Encoded]]) -> None:
    stdout = sys.stdout.buffer
    for numbers, encoded in chunks:
        for number, vector, facts in zip(numbers, encoded.vectors, encoded.facts, strict=True):
            line = {"line": number, "embedding": vector, **facts_json(facts)}
            stdout.write(orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")
        stdout.flush()


def _write_array(path: Path, blocks: Iterable[Vectors], dimension: int) -> None:
    """Write blocks of rows as one `.npy` file, whole or not at all, one block in memory."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            # numpy leaves room in the header for the row count to grow, so it is written twice.
            _write_header(file, 0, dimension)
            rows = 0
            for block in blocks:
                file.write(np.ascontiguousarray(block, "<f4").tobytes())
                rows += len(block)
            file.seek(0)
            _write_header(file, rows, dimension)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _write_header(file: IO[bytes], rows: int, dimension: int) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (rows, dimension)}
    np.lib.format.write_array_header_1_0(file, header)


@main.command()
@click.argument("source", type=click.File("rb"))
@click.argument("target", type=click.File("rb"))
@_granularity_option
@click.option(
    "--score",
    type=click.Choice([str(value) for value in Score]),
    default=str(Score.MARGIN_RATIO),
    show_default=True,
    help="What pairs are ranked by.",
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
@_skip_blank_option
@_bundle_option
@_threads_option
def align(
    source: IO[bytes],
    target: IO[bytes],
    granularity: str,
    score: str,
    k: int,
    threshold: float | None,
    skip_blank: bool,
    **given: object,
) -> None:
    """Pair the lines of SOURCE and TARGET that are translations of each other, in any order.

    Writes tab-separated lines, best pair first: score, cosine, line number in SOURCE, line number
    in TARGET, source text, target text. A tab inside a text is written as a space.
    """
    settings = read_settings(given)
    sources = _file_units(source, granularity, skip_blank)
    targets = _file_units(target, granularity, skip_blank)
    encoder = Encoder.open(settings.bundle, threads=settings.threads)
    units = [unit for _, unit in sources + targets]
    options = Options(comparable=True)
    vectors = encoder.encode(units, options, batch_tokens=settings.batch_tokens).vectors
    alignment = align_one_to_one(
        vectors[: len(sources)],
        vectors[len(sources) :],
        score=Score(score),
        k=k,
        threshold=threshold,
    )
    stdout = sys.stdout.buffer
    for pair in alignment.pairs:
        (source_line, one), (target_line, other) = sources[pair.source], targets[pair.target]
        fields = [f"{pair.score:.6f}", f"{pair.cosine:.6f}", str(source_line), str(target_line)]
        texts = [unit.text.replace("\t", " ") for unit in (one, other)]
        stdout.write("\t".join(fields + texts).encode() + b"\n")
    stdout.flush()


def _file_units(file: IO[bytes], granularity: str, skip_blank: bool) -> list[tuple[int, Unit]]:
    """The lines of a file with their numbers; at least one, or ClickException."""
    origin = f"{file.name} line"
    units = [
        (number, Unit(text, f"{origin} {number}", _chosen(granularity)))
        for number, text in _numbered_lines(file, origin, skip_blank)
    ]
    if not units:
        raise click.ClickException(f"{file.name} has no lines; there is nothing to align")
    return units


def _numbered_lines(file: IO[bytes], origin: str, skip_blank: bool) -> Iterator[tuple[int, str]]:
    """Lines of UTF-8 with their numbers, from 1, without line ends."""
    for number, raw in enumerate(file, start=1):
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise click.ClickException(
                f"{origin} {number} is not UTF-8 (byte {error.start}); convert the file"
            ) from None
        if text.strip():
            yield number, text
        elif not skip_blank:
            raise click.ClickException(
                f"{origin} {number} is blank; remove it, or give --skip-blank"
            )


@main.command()
@_bundle_option
def info(**given: object) -> None:
    """Describe the bundle and the limits, as the service's /info does."""
    settings = read_settings(given)
    manifest = Bundle.open(settings.bundle).manifest
    click.echo(orjson.dumps(describe(manifest, settings), option=orjson.OPT_INDENT_2))


@main.group(name="bundle")
def bundle_group() -> None:
    """Look after bundles."""


@bundle_group.command()
@click.argument("path", type=click.Path(path_type=Path))
def verify(path: Path) -> None:
    """Check every file of the bundle at PATH against its manifest."""
    manifest = Bundle.open(path).manifest
    click.echo(f"OK {manifest.name} {manifest.version}: {len(manifest.files)} files match")
