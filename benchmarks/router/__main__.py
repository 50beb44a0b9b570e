"""Prints the table per language, the confusion table, what was set aside and why, and the times.

    python -m benchmarks.router --data DATA

docs/routing.md says how to read it. `--fit` fits the weights in
`service/encoding/routing/weights.py` anew, on the training part only, and prints that file.
"""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.router.fitting import FIT_ROWS_PER_CLASS, fit_weights, weights_module
from benchmarks.router.report import print_report
from benchmarks.router.rows import load, select
from benchmarks.router.sources import SOURCES

LANGUAGES = (
    "en fr de es it pt ru ja ko zh ar tr hi vi th el pl nl cs fi hu id uk fa he sv ro bg et sw"
)


@click.command()
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="The corpora's folder."
)
@click.option("--languages", default=LANGUAGES, show_default=True)
@click.option("--part", type=click.Choice(["test", "training"]), default="test", show_default=True)
@click.option("--errors", default=0, help="Print so many wrong rows per language and confusion.")
@click.option(
    "--fit", is_flag=True, help="Print weights.py, fitted on the training part, and stop."
)
def main(data: Path, languages: str, part: str, errors: int, fit: bool) -> None:
    """Measure the granularity router on the corpora."""
    if missing := [source.file for source in SOURCES if not (data / source.file).is_file()]:
        raise click.ClickException(
            f"{data} does not hold {missing[0]}"
            + (f" and {len(missing) - 1} more files" if len(missing) > 1 else "")
            + "; give the corpora's folder (with train/ and eval/ in it) as --data"
        )
    rows = load(data, languages.split())
    if fit:
        fitted = fit_weights(select(rows, False, True, FIT_ROWS_PER_CLASS))
        click.echo(weights_module(fitted), nl=False)
        return
    print_report(rows, part, errors)


if __name__ == "__main__":
    main()
