"""`polygrain-train quantize`: faster precisions for a bundle, each with its measured fidelity."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from training.errors import TrainingError

_FOLDER = click.Path(path_type=Path, file_okay=False)
_EXISTING_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)
_EXISTING_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command("quantize")
@click.option("--bundle", type=_EXISTING_FOLDER, required=True, help="the bundle to add to")
@click.option("--corpus", type=_EXISTING_FILE, required=True, help="a corpus table: texts to use")
@click.option("--out", type=_FOLDER, required=True, help="the bundle to write; must not exist")
@click.option("--version", required=True, help="the new bundle's version, like 1.0.1")
@click.option("--precisions", default="bfloat16,int8", help="of: bfloat16, int8, float16")
@click.option("--calibration", type=click.IntRange(min=8), default=720, help="texts for int8")
@click.option("--texts", type=click.IntRange(min=20), default=3_000, help="texts to measure on")
@click.option(
    "--keep", multiple=True, help="regular expression of nodes to keep out of int8; again"
)
@click.pass_obj
def quantize_command(
    threads: int | None,
    bundle: Path,
    corpus: Path,
    out: Path,
    version: str,
    precisions: str,
    calibration: int,
    texts: int,
    keep: tuple[str, ...],
) -> None:
    """Write a bundle anew with faster precisions, and print how near each is to float32."""
    # Of the extra cpu, which is for serving; nothing else in training needs it.
    if find_spec("openvino") is None:
        raise TrainingError("quantize needs openvino: pip install -e '.[cpu,training]'")
    from models.precision import Precision
    from training.precisions.command import Options, add_precisions

    allowed = [str(each) for each in Precision if each is not Precision.FLOAT32]
    names = list(dict.fromkeys(filter(None, map(str.strip, precisions.split(",")))))
    if not names or set(names) - set(allowed):
        raise TrainingError(f"--precisions is {precisions!r}; use some of {', '.join(allowed)}")
    chosen = tuple(map(Precision, names))
    options = Options(chosen, version, calibration, texts, keep, threads)
    add_precisions(bundle, corpus, out, options, click.echo)
    click.echo(f"wrote {out}", err=True)
