"""`polygrain-train`: build a corpus, train adapters, export them to a bundle, evaluate it."""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from models.bundle import BundleError
from training.ablate_cli import ablate_command
from training.calibrate_cli import calibrate_command
from training.data_cli import dictionary_command, mine_command
from training.errors import TrainingError
from training.quantize_cli import quantize_command
from training.unpack_cli import unpack_command

if TYPE_CHECKING:
    from training.recipe import Recipe

_FOLDER = click.Path(path_type=Path, file_okay=False)
_EXISTING_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)
_EXISTING_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_NEW_FILE = click.Path(path_type=Path, dir_okay=False)
_EXISTING = click.Path(path_type=Path, exists=True)
_DEVICE = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    help="auto: cuda where there is any",
)


@click.group(context_settings={"show_default": True})
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads [default: all cores]")
@click.pass_context
def cli(context: click.Context, threads: int | None) -> None:
    """Build corpora, train adapters on a frozen encoder, export and evaluate bundles."""
    context.obj = threads
    # Here and not at import: these libraries take seconds to load, and --help must not wait.
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


@cli.command("backbone")
@click.option("--recipe", "recipe_file", type=_EXISTING_FILE, required=True, help="a TOML recipe")
@click.option("--corpus", type=_EXISTING_FILE, required=True, help="a corpus table")
@click.option("--run", type=_FOLDER, required=True, help="where everything that it makes goes")
@click.option("--teacher", help="hub name or folder of a sentence encoder, not the recipe's")
@_DEVICE
def backbone_command(
    recipe_file: Path, corpus: Path, run: Path, teacher: str | None, device: str
) -> None:
    """Make a multilingual student of a monolingual teacher. The same command goes on where a cut
    one stopped."""
    from training.device import Device, choose
    from training.student.build import build_backbone
    from training.student.recipe import BackboneRecipe

    recipe = BackboneRecipe.read(recipe_file, teacher=teacher)
    folder = build_backbone(recipe, corpus, run, choose(Device(device)))
    click.echo(f"wrote {folder}", err=True)


@cli.command("adapters")
@click.option("--recipe", "recipe_file", type=_EXISTING_FILE, required=True, help="a TOML recipe")
@click.option(
    "--corpus", type=_EXISTING, required=True, help="folder of TSV translations, or a corpus table"
)
@click.option(
    "--evaluation",
    type=_EXISTING_FOLDER,
    required=True,
    help="folder of test sets, whose texts are kept out of training",
)
@click.option("--run", type=_FOLDER, required=True, help="where checkpoints and metrics go")
@click.option("--backbone", help="hub name or folder, in place of the recipe's")
@click.option(
    "--reuse",
    type=_EXISTING_FOLDER,
    help="an earlier run; stages that are the same are not trained",
)
@_DEVICE
def adapters_command(
    recipe_file: Path,
    corpus: Path,
    evaluation: Path,
    run: Path,
    backbone: str | None,
    reuse: Path | None,
    device: str,
) -> None:
    """Train the adapters of a recipe. The same command goes on where a cut one stopped."""
    from training.device import Device, choose
    from training.processes import joined
    from training.trainer import Corpus, train

    recipe = _recipe(recipe_file, backbone)
    with joined(choose(Device(device))) as on:
        train(recipe, Corpus(corpus, evaluation), run, on, reuse)


@cli.command("export")
@click.option("--run", type=_EXISTING_FOLDER, required=True, help="a finished run")
@click.option("--out", type=_FOLDER, required=True, help="the bundle to write; must not exist")
@click.option("--name", required=True, help="the bundle's name, like polygrain-mini")
@click.option("--version", required=True, help="the bundle's version, like 0.1.0")
@click.option("--card", type=_EXISTING_FILE, required=True, help="template of the model card")
@click.option("--corpus", type=_EXISTING, required=True, help="texts of the parity check")
@click.option("--scores", type=_EXISTING_FILE, help="what `evaluate --out` wrote, for the manifest")
@click.option(
    "--dimensions", help="to which vectors may be cut, like 64,128,256; measure each before"
)
@click.option(
    "--token-layer",
    default="last",
    show_default=True,
    help="the layer of the token states: last, a number from 1, or auto",
)
@click.option(
    "--evaluation",
    type=_EXISTING_FOLDER,
    help="of auto: folder of test sets, by whose development sets it chooses",
)
def export_command(
    run: Path,
    out: Path,
    name: str,
    version: str,
    card: Path,
    corpus: Path,
    scores: Path | None,
    dimensions: str | None,
    token_layer: str,
    evaluation: Path | None,
) -> None:
    """Write a run as a bundle: one ONNX graph with all adapters, checked against torch."""
    from models.bundle import Bundle
    from training.export import Identity, export, parity_sample
    from training.token_layer import LayerWish, as_line

    wish = LayerWish.read(token_layer, evaluation)
    try:
        cut = tuple(sorted({int(each) for each in (dimensions or "").split(",") if each}))
    except ValueError:
        raise TrainingError(
            f"--dimensions is {dimensions!r}; give numbers with commas between, like 64,128,256"
        ) from None
    identity = Identity(name, version, card, scores, cut)
    error = export(run, out, identity, parity_sample(run, corpus), wish)
    click.echo(f"parity: {error:.1e}", err=True)
    if (told := Bundle.open(out).manifest.token_layer) is not None:
        click.echo(as_line(told), err=True)
    click.echo(f"wrote {out}", err=True)


@cli.command("evaluate")
@click.option("--bundle", type=_EXISTING_FOLDER, help="the bundle to measure")
@click.option("--url", help="or the running service to measure, like http://127.0.0.1:8080")
@click.option("--scores", type=_EXISTING_FILE, help="or what --out wrote, to show it again")
@click.option("--evaluation", type=_EXISTING_FOLDER, help="folder of test sets")
@click.option(
    "--tasks", help="names with commas between; docs/evaluation.md has them [default: all]"
)
@click.option("--adapters", help="of: none, the adapters' names, routed [default: all]")
@click.option("--languages", help="codes, `core` (the 30) or `all` [default: core]")
@click.option("--dimensions", type=click.IntRange(min=1), help="of each vector [default: all]")
@click.option("--out", type=_NEW_FILE, help="write every figure as JSON")
@click.option("--report", type=_NEW_FILE, help="write one HTML page with plots")
@click.option("--compare", type=_EXISTING_FILE, help="another --out, to compare in the report")
@click.pass_obj
def evaluate_command(
    threads: int | None,
    bundle: Path | None,
    url: str | None,
    scores: Path | None,
    evaluation: Path | None,
    tasks: str | None,
    adapters: str | None,
    languages: str | None,
    dimensions: int | None,
    out: Path | None,
    report: Path | None,
    compare: Path | None,
) -> None:
    """Measure a bundle, or a running service, on every task of the suite; print and write it."""
    from training.evaluation.command import Choice, Outputs, Source, run

    run(
        Source(bundle, url, scores),
        evaluation,
        Choice(tasks, adapters, languages, dimensions),
        Outputs(out, report, compare),
        threads,
        say=click.echo,
        note=lambda text: click.echo(text, err=True),
    )


@cli.command("trim")
@click.option("--bundle", type=_EXISTING_FOLDER, required=True, help="the bundle to cut down")
@click.option("--corpus", type=_EXISTING_FILE, required=True, help="a corpus table: what is used")
@click.option("--languages", required=True, help="what to keep, like en,de,fr")
@click.option("--out", type=_FOLDER, required=True, help="the bundle to write; must not exist")
@click.option("--name", required=True, help="the new bundle's name")
@click.option("--version", required=True, help="the new bundle's version, like 0.1.0")
@click.option(
    "--coverage",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    help="of each language's token occurrences, to keep",
)
@click.option("--vocabulary-size", type=click.IntRange(min=1), help="in place of --coverage")
@click.option(
    "--characters",
    type=click.Choice(["needed", "used"]),
    default="needed",
    help="needed: keep all, so that every text still tokenises; used: what the languages use",
)
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    default=50,
    help="texts to compare, of each language and granularity",
)
@click.pass_obj
def trim_command(
    threads: int | None,
    bundle: Path,
    corpus: Path,
    languages: str,
    out: Path,
    name: str,
    version: str,
    coverage: float,
    vocabulary_size: int | None,
    characters: str,
    sample: int,
) -> None:
    """Cut a bundle's vocabulary to chosen languages, and print what that costs."""
    from training.trim import TrimOptions, as_text, trim
    from training.trimming.tokenizer import Characters

    chosen = tuple(dict.fromkeys(filter(None, map(str.strip, languages.split(",")))))
    kept = Characters(characters)
    options = TrimOptions(chosen, coverage, vocabulary_size, kept, sample, threads)
    click.echo(as_text(trim(bundle, corpus, out, name, version, options)))
    click.echo(f"wrote {out}", err=True)


@cli.group("corpus")
def corpus_group() -> None:
    """Build a corpus table from translations, and show what is in one."""


@corpus_group.command("build")
@click.argument("inputs", nargs=-1, required=True, type=_EXISTING)
@click.option("--out", type=_NEW_FILE, required=True, help="the Parquet table; must not exist")
@click.option(
    "--evaluation",
    type=_EXISTING_FOLDER,
    help="folder of test sets, whose texts are kept out of the table",
)
@click.option("--no-evaluation", is_flag=True, help="keep nothing out; not for what you measure")
@click.option("--licence", help="of inputs that state none and are no known source")
@click.option(
    "--granularity",
    type=click.Choice(["phrase", "sentence", "paragraph"]),
    help="of inputs that state none",
)
@click.option("--workers", type=click.IntRange(min=1), default=1, help="processes that clean rows")
@click.option("--dropped", type=_NEW_FILE, help="write 50 dropped rows per reason, as JSON lines")
def corpus_build_command(
    inputs: tuple[Path, ...],
    out: Path,
    evaluation: Path | None,
    no_evaluation: bool,
    licence: str | None,
    granularity: str | None,
    workers: int,
    dropped: Path | None,
) -> None:
    """Clean INPUTS (files or folders) and write them as one table; docs/corpora.md says how."""
    from training.corpora.build import BuildOptions, build
    from training.corpora.rows import Defaults

    if (evaluation is None) != no_evaluation:
        raise TrainingError(
            "give either --evaluation FOLDER, whose texts are kept out of the table, "
            "or --no-evaluation to keep nothing out"
        )
    options = BuildOptions(evaluation, Defaults(licence, granularity), workers, dropped)
    report = build(inputs, out, options)
    sources = report["sources"].values()
    read, kept = (sum(source[key] for source in sources) for key in ("read", "kept"))
    for name in report["files_skipped"]:
        click.echo(f"skipped {name}: no corpus file", err=True)
    click.echo(f"kept {kept:,} of {read:,} rows", err=True)
    for reason in next(iter(sources))["dropped"]:
        click.echo(f"  {sum(s['dropped'][reason] for s in sources):>12,}  {reason}", err=True)
    click.echo(f"wrote {out}", err=True)


@corpus_group.command("fetch")
@click.argument("folder", type=_FOLDER)
@click.option("--source", "names", multiple=True, required=True, help="see docs/corpora.md; again")
@click.option("--languages", help="like de,fr,ja, English always beside them [default: all]")
def corpus_fetch_command(folder: Path, names: tuple[str, ...], languages: str | None) -> None:
    """Download sources into FOLDER, ready for `corpus build`. A cut download goes on."""
    from training.corpora.fetch import fetch
    from training.corpora.sources import known_sources

    known = known_sources()
    if unknown := [name for name in names if name not in known]:
        can = ", ".join(name for name, source in known.items() if source.download is not None)
        raise TrainingError(
            f"no source is called {', '.join(unknown)}; these can be fetched: {can}"
        )
    chosen = None if languages is None else [each.strip() for each in languages.split(",")]
    for result in fetch(folder, {name: known[name] for name in names}, chosen):
        rows = ", ".join(f"{language} {count:,}" for language, count in result.rows.items())
        click.echo(f"{result.source}: {rows}", err=True)
        if result.missing:
            click.echo(f"  not there: {', '.join(result.missing)}", err=True)
        for file in result.files:
            click.echo(f"wrote {file}", err=True)


@corpus_group.command("stats")
@click.argument("table", type=_EXISTING_FILE)
@click.option("--top", type=click.IntRange(min=1), default=30, help="languages to print")
@click.option("--json", "json_file", type=_NEW_FILE, help="write everything as JSON")
@click.option("--plots", type=_FOLDER, help="write PNG plots into this folder")
def corpus_stats_command(table: Path, top: int, json_file: Path | None, plots: Path | None) -> None:
    """Print what a corpus TABLE holds and what its build dropped."""
    from training.corpora.stats import as_json, as_text, measure, plot

    stats = measure(table)
    click.echo(as_text(stats, top))
    if json_file is not None:
        text = json.dumps(as_json(stats), indent=2, ensure_ascii=False) + "\n"
        json_file.write_text(text, encoding="utf-8")
    if plots is not None:
        for file in plot(stats, plots):
            click.echo(f"wrote {file}", err=True)


cli.add_command(ablate_command)
cli.add_command(calibrate_command)
cli.add_command(mine_command)
cli.add_command(quantize_command)
cli.add_command(unpack_command)
corpus_group.add_command(dictionary_command)


def _recipe(file: Path, backbone: str | None) -> Recipe:
    from training.recipe import Recipe

    return Recipe.read(file, backbone=backbone)


def main() -> None:
    """The program: errors that a person can mend are one line on stderr and exit code 1."""
    needed = (
        *("torch", "transformers", "adapters", "onnx", "pyarrow", "py3langid", "matplotlib"),
        *("anyascii", "regex", "nncf"),
    )
    if missing := [name for name in needed if find_spec(name) is None]:
        install = "pip install -e '.[cpu,training]'"
        click.echo(f"polygrain-train needs {', '.join(missing)}: {install}", err=True)
        sys.exit(2)
    try:
        cli()
    except (TrainingError, BundleError, FileExistsError) as error:
        if os.environ.get("RANK", "0") == "0":  # of several processes the first speaks
            click.echo(f"polygrain-train: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
