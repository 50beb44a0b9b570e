"""`polygrain-train`: train adapters, export them to a bundle, evaluate the bundle."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from models.bundle import BundleError
from training.errors import TrainingError

if TYPE_CHECKING:
    from training.recipe import Recipe

_FOLDER = click.Path(path_type=Path, file_okay=False)
_EXISTING_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)
_EXISTING_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.group(context_settings={"show_default": True})
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads [default: all cores]")
@click.pass_context
def cli(context: click.Context, threads: int | None) -> None:
    """Train adapters on a frozen encoder, export and evaluate bundles."""
    context.obj = threads
    # Here and not at import: these libraries take seconds to load, and --help must not wait.
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


@cli.command("adapters")
@click.option("--recipe", "recipe_file", type=_EXISTING_FILE, required=True, help="a TOML recipe")
@click.option("--corpus", type=_EXISTING_FOLDER, required=True, help="folder of TSV translations")
@click.option(
    "--evaluation",
    type=_EXISTING_FOLDER,
    required=True,
    help="folder of test sets, whose texts are kept out of training",
)
@click.option("--run", type=_FOLDER, required=True, help="where checkpoints and metrics go")
@click.option("--backbone", help="hub name or folder, in place of the recipe's")
def adapters_command(
    recipe_file: Path, corpus: Path, evaluation: Path, run: Path, backbone: str | None
) -> None:
    """Train the adapters of a recipe. The same command goes on where a cut one stopped."""
    from training.trainer import Corpus, train

    train(_recipe(recipe_file, backbone), Corpus(corpus, evaluation), run)


@cli.command("export")
@click.option("--run", type=_EXISTING_FOLDER, required=True, help="a finished run")
@click.option("--out", type=_FOLDER, required=True, help="the bundle to write; must not exist")
@click.option("--name", required=True, help="the bundle's name, like polygrain-mini")
@click.option("--version", required=True, help="the bundle's version, like 0.1.0")
@click.option("--card", type=_EXISTING_FILE, required=True, help="template of the model card")
@click.option("--corpus", type=_EXISTING_FOLDER, required=True, help="texts of the parity check")
@click.option("--scores", type=_EXISTING_FILE, help="what `evaluate --out` wrote, for the manifest")
def export_command(
    run: Path, out: Path, name: str, version: str, card: Path, corpus: Path, scores: Path | None
) -> None:
    """Write a run as a bundle: one ONNX graph with all adapters, checked against torch."""
    from training.export import Identity, export, parity_sample

    identity = Identity(name, version, card, scores)
    click.echo(f"parity: {export(run, out, identity, parity_sample(run, corpus)):.1e}", err=True)
    click.echo(f"wrote {out}", err=True)


@cli.command("evaluate")
@click.option("--bundle", type=_EXISTING_FOLDER, required=True)
@click.option("--evaluation", type=_EXISTING_FOLDER, required=True, help="folder of test sets")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="scores as JSON")
@click.pass_obj
def evaluate_command(threads: int | None, bundle: Path, evaluation: Path, out: Path | None) -> None:
    """Print the adapter x task table: every adapter, and none, on every granularity's task."""
    from training.evaluation.embedder import Embedder
    from training.evaluation.table import as_markdown, as_scores, evaluate

    table = evaluate(Embedder.open(bundle, threads), evaluation)
    click.echo(as_markdown(table))
    if out is not None:
        out.write_text(json.dumps(as_scores(table), indent=2) + "\n", encoding="utf-8")


def _recipe(file: Path, backbone: str | None) -> Recipe:
    from training.recipe import Recipe

    return Recipe.read(file, backbone=backbone)


def main() -> None:
    """The program: errors that a person can mend are one line on stderr and exit code 1."""
    needed = ("torch", "transformers", "adapters", "onnx")
    if missing := [name for name in needed if find_spec(name) is None]:
        install = "pip install -e '.[cpu,training]'"
        click.echo(f"polygrain-train needs {', '.join(missing)}: {install}", err=True)
        sys.exit(2)
    try:
        cli()
    except (TrainingError, BundleError, FileExistsError) as error:
        click.echo(f"polygrain-train: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
