"""The command: what to measure, where, how often."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import torch

from benchmarks.training_speed import pairs
from benchmarks.training_speed.alternation import OURS, PEER, Disagreement, alternate, processes
from benchmarks.training_speed.cases import CASES
from benchmarks.training_speed.report import report
from benchmarks.training_speed.side import Job
from training.run import cpu_name

_PRECISIONS = ("float32", "bfloat16")
# Padded tokens of one forward pass, as docs/training.md advises.
_CHUNK_TOKENS = {"cpu": 4096, "cuda": 65536}


@click.command(context_settings={"show_default": True})
@click.option("--backbone", required=True, help="Encoder to train an adapter on: a folder or name.")
@click.option(
    "--peer-python",
    type=click.Path(exists=True, dir_okay=False),
    required=True,
    help="Python of the environment that has sentence-transformers (docs/training.md).",
)
@click.option("--teacher", help="For objectives that learn from one.  [default: the backbone]")
@click.option(
    "--corpus",
    type=click.Path(path_type=Path, exists=True),
    help="A corpus table, or a folder of TSV files.  [default: made-up words]",
)
@click.option("--languages", default="de,fr,ru,zh", help="Of the corpus, beside English.")
@click.option("--case", "cases", type=click.Choice(list(CASES)), multiple=True, help="Some only.")
@click.option(
    "--precision", "precisions", type=click.Choice(_PRECISIONS), multiple=True, help="One only."
)
@click.option("--device", type=click.Choice(list(_CHUNK_TOKENS)), default="cpu")
@click.option("--threads", type=click.IntRange(min=1), default=os.cpu_count() or 1)
@click.option("--rounds", type=click.IntRange(min=1), default=5)
@click.option("--warmup", type=click.IntRange(min=3), default=4, help="Steps that do not count.")
@click.option("--steps", type=click.IntRange(min=1), default=20, help="Steps that count.")
@click.option("--batch-pairs", type=click.IntRange(min=2), default=64)
@click.option("--max-tokens", type=click.IntRange(min=3), default=128)
@click.option("--chunk-tokens", type=click.IntRange(min=1), help="[default: by device]")
@click.option("--mask-token", help="For masked, where the tokenizer has no [MASK] or <mask>.")
@click.option("--seed", type=int, default=1)
def main(
    backbone: str,
    peer_python: str,
    teacher: str | None,
    corpus: Path | None,
    languages: str,
    cases: tuple[str, ...],
    precisions: tuple[str, ...],
    device: str,
    threads: int,
    rounds: int,
    warmup: int,
    steps: int,
    batch_pairs: int,
    max_tokens: int,
    chunk_tokens: int | None,
    mask_token: str | None,
    seed: int,
) -> None:
    """Measure training beside sentence-transformers, and print markdown."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "pairs.json")
        pool = pairs.made_up() if corpus is None else pairs.sample(corpus, languages.split(","))
        pairs.write(file, pool)
        jobs = [
            Job(
                case=case,
                precision=precision,
                device=device,
                backbone=backbone,
                teacher=teacher or backbone,
                pairs=str(file),
                batch_pairs=batch_pairs,
                max_tokens=max_tokens,
                chunk_tokens=chunk_tokens or _CHUNK_TOKENS[device],
                warmup_steps=warmup,
                timed_steps=steps,
                threads=threads,
                seed=seed,
                mask_token=mask_token,
            )
            for precision in precisions or _PRECISIONS
            for case in cases or CASES
        ]
        try:
            run = processes({OURS: sys.executable, PEER: peer_python})
            outcomes = alternate(jobs, rounds, run)
        except (Disagreement, RuntimeError) as error:
            raise click.ClickException(str(error)) from None
    source = "made-up words" if corpus is None else f"{corpus.name} ({', '.join(pool)})"
    machine = torch.cuda.get_device_name() if device == "cuda" else cpu_name()
    for line in report(outcomes, machine, source):
        click.echo(line)


if __name__ == "__main__":
    main()
