"""`polygrain-train calibrate`: from scores to probabilities, in a bundle of a new version."""

from __future__ import annotations

from pathlib import Path

import click

_FOLDER = click.Path(path_type=Path, file_okay=False)
_EXISTING_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)
_EXISTING = click.Path(path_type=Path, exists=True)
_NEW_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("calibrate")
@click.option("--bundle", type=_EXISTING_FOLDER, required=True, help="the bundle to calibrate")
@click.option("--corpus", type=_EXISTING, required=True, help="what it was trained on")
@click.option(
    "--evaluation",
    type=_EXISTING_FOLDER,
    required=True,
    help="folder of test sets, whose texts are kept out",
)
@click.option("--out", type=_FOLDER, required=True, help="the bundle to write; must not exist")
@click.option("--version", required=True, help="the new bundle's version, like 1.0.1")
@click.option("--report", type=_NEW_FILE, help="write one HTML page with reliability plots")
@click.pass_obj
def calibrate_command(
    threads: int | None,
    bundle: Path,
    corpus: Path,
    evaluation: Path,
    out: Path,
    version: str,
    report: Path | None,
) -> None:
    """Fit the probability that a score means a translation, on pairs that were held out of the
    bundle's training, and write it into a new bundle. docs/calibration.md says how."""
    from training.calibration.command import calibrate
    from training.calibration.report import write_report
    from training.data import Corpus

    measured = calibrate(bundle, Corpus(corpus, evaluation), out, version, threads, click.echo)
    click.echo(f"wrote {out}", err=True)
    if report is not None:
        write_report(report, f"Calibration of {out.name} {version}", measured)
        click.echo(f"wrote {report}", err=True)
