"""Options that several commands take."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, get_args

import click
import orjson

from service.api.align_schemas import LANGUAGE_PATTERN
from service.api.schemas import TextGranularity
from service.settings import DeviceName, PrecisionName, RuntimeName

# A function that click makes a command of.
Command = TypeVar("Command", bound=Callable[..., None])


def bundle_option(command: Command) -> Command:
    """Which bundle."""
    return click.option(
        "--bundle", type=click.Path(path_type=Path), help="Folder of the bundle to use."
    )(command)


def threads_option(command: Command) -> Command:
    """How many cores."""
    return click.option(
        "--threads", type=int, help="Cores that the model uses.  [default: all available]"
    )(command)


def model_options(command: Command) -> Command:
    """What computes the model; docs/precisions.md tells what `auto` takes."""
    for name, allowed, what in (
        ("device", DeviceName, "What the model is computed on."),
        ("precision", PrecisionName, "The arithmetic that it is computed in."),
        ("runtime", RuntimeName, "The library that computes it."),
    ):
        values = ", ".join(get_args(allowed))
        command = click.option(f"--{name}", help=f"{what} {values}.  [default: auto]")(command)
    return command


def neighbours_option(*names: str) -> Callable[[Command], Command]:
    """How many neighbours a margin looks at, by these names."""
    return click.option(
        *names,
        type=click.IntRange(1),
        default=4,
        show_default=True,
        help="Neighbours that a margin is measured over.",
    )


def granularity_option(command: Command) -> Command:
    """Which adapter."""
    return click.option(
        "--granularity",
        type=click.Choice(get_args(TextGranularity)),
        default="auto",
        show_default=True,
        help="Which adapter reads the texts.",
    )(command)


def skip_blank_option(command: Command) -> Command:
    """What becomes of blank lines."""
    return click.option(
        "--skip-blank", is_flag=True, help="Leave blank lines out instead of stopping at one."
    )(command)


def finite(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """A callback of numbers that are compared."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is no finite number")
    return value


def two_languages(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[str, str] | None:
    """A callback of LANGUAGE,LANGUAGE."""
    if value is None:
        return None
    names = value.split(",")
    if len(names) != 2 or not all(re.fullmatch(LANGUAGE_PATTERN, name) for name in names):
        raise click.BadParameter(f"{value!r} is not two languages; give them as en,de")
    return names[0], names[1]


def _json(context: click.Context, parameter: click.Parameter, value: str | None) -> object | None:
    if value is None:
        return None
    try:
        parsed: object = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise click.BadParameter(f"it is not JSON: {error}") from None
    return parsed


filter_option = click.option(
    "--filter",
    "condition",
    callback=_json,
    metavar="JSON",
    help='A condition, such as {"field": "language", "eq": "de"}.',
)
