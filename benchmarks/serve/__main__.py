"""`python -m benchmarks.serve setup`, once, then `python -m benchmarks.serve run`."""

from __future__ import annotations

import dataclasses
import functools
import os
import platform
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import orjson

from benchmarks.machine import processor
from benchmarks.serve import environments
from benchmarks.serve.agreement import Disagreement
from benchmarks.serve.contestants import PEER_NAMES, Contestant, Encoding, peers, polygrain
from benchmarks.serve.processes import ServerFailed
from benchmarks.serve.report import markdown
from benchmarks.serve.results import Results
from benchmarks.serve.run import Plan, Weights, run
from benchmarks.serve.scenarios import CLOSED, KINDS, QUICK, SHAPES, Scenario, open_scenarios
from benchmarks.texts import Kind
from models.bundle import DEFAULT_BUNDLE

_FOLDER = click.Path(path_type=Path, file_okay=False)
OURS = "polygrain"


@click.group(context_settings={"show_default": True})
def main() -> None:
    """The service against other embedding servers. docs/benchmarks.md tells more."""


@main.command()
@click.option("--peers", "names", default="all", help="environments, by comma, or all")
@click.option("--into", type=_FOLDER, default=Path("build/peers"))
@click.option(
    "--weights",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="a sentence-transformers folder, from which the weights of all servers are made",
)
def setup(names: str, into: Path, weights: Path | None) -> None:
    """Make the peers' environments, and one model in the forms that all servers open."""
    chosen = environments.ENVIRONMENTS if names == "all" else tuple(names.split(","))
    if unknown := sorted(set(chosen) - set(environments.ENVIRONMENTS)):
        raise click.UsageError(
            f"{', '.join(unknown)} unknown; use {', '.join(environments.ENVIRONMENTS)} or all"
        )
    environments.make(chosen, into)
    target = into / "weights"
    if target.exists():
        click.echo(f"{target}: there already")
    elif weights is None:
        raise click.UsageError(f"{target} is not there; name a model with --weights FOLDER")
    else:
        # Here, since it loads torch, which measuring does without.
        from benchmarks.serve.weights import make

        make(weights, target)
        click.echo(f"{target}: made from {weights}")


@main.command(name="run")
@click.option("--from", "home", type=_FOLDER, default=Path("build/peers"), help="what setup made")
@click.option("--peers", "names", default="all", help="by comma, all or none")
@click.option("--out", type=_FOLDER, default=Path("build/serve"), help="for report, JSON and logs")
@click.option("--kinds", default="all", help="phrase, sentence, paragraph, mix, by comma")
@click.option("--shapes", default="all", help="clients x texts, by comma: 1x1,64x1,8x32")
@click.option("--rates", default="", help="open loop as well: requests a second, by comma")
@click.option("--encodings", default="float,base64")
@click.option("--rounds", type=click.IntRange(min=1), default=5)
@click.option("--seconds", type=float, default=4.0, help="of each turn")
@click.option("--warm", "warm_s", type=float, default=1.0, help="seconds of load before each turn")
@click.option(
    "--bundle",
    type=_FOLDER,
    help="what our server opens beside the peers  [default: weights/bundle in --from]",
)
@click.option("--own-bundle", type=_FOLDER, default=DEFAULT_BUNDLE, help="measured without peers")
@click.option("--skip-own/--with-own", default=False)
@click.option(
    "--variant",
    "variants",
    multiple=True,
    help="our server once more with other settings, NAME:POLYGRAIN_X=Y[,...]",
)
@click.option("--min-cosine", type=float, default=0.999, help="below this a server is refused")
@click.option("--beside-large", type=click.Choice(["ours", "all", "none"]), default="ours")
@click.option("--quick", is_flag=True, help="three scenarios, one round, one second: a check")
def run_command(
    home: Path,
    names: str,
    out: Path,
    kinds: str,
    shapes: str,
    rates: str,
    encodings: str,
    rounds: int,
    seconds: float,
    warm_s: float,
    bundle: Path | None,
    own_bundle: Path,
    skip_own: bool,
    variants: tuple[str, ...],
    min_cosine: float,
    beside_large: str,
    quick: bool,
) -> None:
    """Measure, print the report as Markdown, and write it and the raw figures to --out."""
    settings: dict[str, dict[str, str]] = {OURS: {}, **dict(map(variant, variants))}
    if quick:
        rounds, seconds, warm_s = 1, 1.0, 0.3
    try:
        scenarios = QUICK if quick else _scenarios(kinds, shapes, rates)
        wanted = tuple(Encoding(encoding) for encoding in encodings.split(","))
        rivals = peers(home, {"all": PEER_NAMES, "none": ()}.get(names, names.split(",")))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    fields = [_field("the same weights", bundle or home / "weights" / "bundle", settings, rivals)]
    if not skip_own:
        fields.append(_field(own_bundle.name, own_bundle, settings, []))
    record = _Record(out, len(fields))
    for number, weights in enumerate(fields):
        large = [
            one.name for one in weights.contestants if beside_large == "all" or not one.is_peer
        ]
        plan = Plan(
            scenarios=scenarios,
            rounds=rounds,
            seconds=seconds,
            warm_s=warm_s,
            encodings=wanted,
            min_cosine=min_cosine,
            beside_large=() if beside_large == "none" else tuple(large),
            bare=settings,
        )
        save = functools.partial(record.save, number, plan)
        try:
            run(weights, plan, out / "logs" / str(number), save)
        except (Disagreement, ServerFailed) as error:
            raise click.ClickException(str(error)) from None
    click.echo(record.report())


def variant(given: str) -> tuple[str, dict[str, str]]:
    """The name and the settings of `NAME:POLYGRAIN_X=Y[,...]`; UsageError for anything else."""
    name, colon, values = given.partition(":")
    pairs = [pair.partition("=") for pair in values.split(",")]
    if not (name and colon and all(key and equals for key, equals, _ in pairs)):
        raise click.UsageError(f"--variant is {given!r}; give NAME:POLYGRAIN_X=Y[,...]")
    return f"{OURS} {name}", {key: value for key, _, value in pairs}


def _scenarios(kinds: str, shapes: str, rates: str) -> tuple[Scenario, ...]:
    """What the options name; ValueError for what is no kind, shape or rate."""
    chosen = KINDS if kinds == "all" else tuple(Kind(kind) for kind in kinds.split(","))
    sizes = SHAPES if shapes == "all" else tuple(_shape(shape) for shape in shapes.split(","))
    closed = [one for one in CLOSED if one.kind in chosen and (one.clients, one.texts) in sizes]
    others = [
        Scenario(kind, size, clients)
        for kind in chosen
        for clients, size in sizes
        if (clients, size) not in SHAPES
    ]
    open_ones = open_scenarios(chosen, [float(rate) for rate in rates.split(",") if rate])
    return (*closed, *others, *open_ones)


def _shape(given: str) -> tuple[int, int]:
    clients, _, size = given.partition("x")
    if not (clients.isdigit() and size.isdigit() and int(clients) and int(size)):
        raise ValueError(f"{given!r} is no shape; give CLIENTSxTEXTS, such as 8x32")
    return int(clients), int(size)


def _field(
    name: str, bundle: Path, settings: Mapping[str, Mapping[str, str]], rivals: Sequence[Contestant]
) -> Weights:
    ours = [polygrain(bundle, label, values) for label, values in settings.items()]
    return Weights(name, bundle, (*ours, *rivals))


class _Record:
    """What is on disk and printed: the results so far, whatever happens afterwards."""

    def __init__(self, folder: Path, fields: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._conditions = _conditions()
        self._found: list[Results | None] = [None] * fields
        self._plans: list[dict[str, Any]] = [{}] * fields

    def save(self, number: int, plan: Plan, results: Results) -> None:
        """Write the results of one field, and the report, anew."""
        self._found[number] = results
        self._plans[number] = dataclasses.asdict(plan)
        raw = {
            "conditions": self._conditions,
            "plans": self._plans,
            "results": [dataclasses.asdict(one) for one in self._found if one],
        }
        (self._folder / "results.json").write_bytes(orjson.dumps(raw, option=orjson.OPT_INDENT_2))
        (self._folder / "report.md").write_text(self.report(), encoding="utf-8")

    def report(self) -> str:
        """Everything so far, as Markdown."""
        title = ", ".join(f"{key} {value}" for key, value in self._conditions.items())
        return "\n".join([title, *(f"\n{markdown(one)}" for one in self._found if one), ""])


def _conditions() -> dict[str, str]:
    packages = ("polygrain", "onnxruntime", "torch", "numpy")
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "processor": processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "load before": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


if __name__ == "__main__":
    # A killed run must not leave paused servers behind.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(f"stopped by signal {number}"))
    main()
