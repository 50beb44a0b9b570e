"""The command `ablate`."""

from __future__ import annotations

from pathlib import Path

import click

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_EXISTING = click.Path(path_type=Path, exists=True)
_EXISTING_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)
_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command("ablate")
@click.option("--plan", "plan_file", type=_FILE, required=True, help="a TOML plan")
@click.option("--corpus", type=_EXISTING, required=True, help="as for `adapters`")
@click.option("--evaluation", type=_EXISTING_FOLDER, required=True, help="folder of test sets")
@click.option("--run", type=_FOLDER, required=True, help="where runs, scores and reports go")
@click.option("--input", "inputs", multiple=True, help="NAME=VALUE for a plan's input; again")
@click.option("--only", help="tables, with commas between [default: all]")
@click.option("--arms", help="arms, with commas between [default: all]")
@click.option("--dry-run", is_flag=True, help="print what would be trained and what it takes")
@click.option(
    "--tokens-per-second",
    type=click.FloatRange(min=0, min_open=True),
    default=15_000,
    help="of training, for the hours that --dry-run prints",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    help="auto: cuda where there is any",
)
def ablate_command(
    plan_file: Path,
    corpus: Path,
    evaluation: Path,
    run: Path,
    inputs: tuple[str, ...],
    only: str | None,
    arms: str | None,
    dry_run: bool,
    tokens_per_second: float,
    device: str,
) -> None:
    """Train and measure the arms of a plan over seeds, and mark its claims. The same command goes
    on where a cut one stopped."""
    from training.ablation.command import ablate, parse_inputs, preview
    from training.ablation.jobs import Choice
    from training.ablation.runner import Place
    from training.data import Corpus
    from training.device import Device, choose

    choice = Choice(_names(only), _names(arms))
    place = Place(run, Corpus(corpus, evaluation), choose(Device(device)))
    given = parse_inputs(inputs)
    if dry_run:
        click.echo(preview(plan_file, given, choice, place, tokens_per_second))
    else:
        ablate(plan_file, given, choice, place, lambda text: click.echo(text, err=True))


def _names(value: str | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(name.strip() for name in value.split(","))
