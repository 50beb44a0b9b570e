"""Commands that make training data of other data: `mine` and `corpus dictionary`."""

from __future__ import annotations

from pathlib import Path

import click

from models.bundle import TEXT_GRANULARITIES, Granularity
from training.errors import TrainingError

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)
_NEW_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("mine")
@click.argument("inputs", nargs=-1, required=True, type=_FILE)
@click.option("--languages", required=True, help="the two, like en,sw, in the order of two INPUTS")
@click.option("--bundle", type=_FOLDER, required=True, help="the model to mine with")
@click.option("--out", type=_NEW_FILE, required=True, help="the pairs, NAME.tsv; must not exist")
@click.option("--report", "report_file", type=_NEW_FILE, help="write what was dropped, as JSON")
@click.option(
    "--granularity",
    type=click.Choice([str(each) for each in TEXT_GRANULARITIES]),
    default=str(Granularity.SENTENCE),
    help="of the texts; says which adapter, and how long they may be",
)
@click.option("--evaluation", type=_FOLDER, help="folder of test sets, whose texts are not mined")
@click.option("--exclude-source", multiple=True, help="of a table: a source not to mine; again")
@click.option("--limit", type=click.IntRange(min=1), help="texts a side, by hash [default: all]")
@click.option("--margin", type=click.FloatRange(min=0), default=1.06, help="the least to accept")
@click.option("--neighbours", type=click.IntRange(min=1), default=4, help="k of the margin")
@click.option(
    "--ratio", type=click.FloatRange(min=1), help="of lengths, the most [default: corpus build's]"
)
@click.pass_obj
def mine_command(
    threads: int | None,
    inputs: tuple[Path, ...],
    languages: str,
    bundle: Path,
    out: Path,
    report_file: Path | None,
    granularity: str,
    evaluation: Path | None,
    exclude_source: tuple[str, ...],
    limit: int | None,
    margin: float,
    neighbours: int,
    ratio: float | None,
) -> None:
    """Find translations among the texts of two languages, and write them for `corpus build`.

    INPUTS are two files of lines, one language each, or one corpus table, of which the rows of both
    languages are taken as if nobody knew which belong together. docs/mining.md says how.
    """
    from training.bitext.mine import (
        MiningOptions,
        check_output,
        mine_pairs,
        report,
        write_pairs,
        write_report,
    )
    from training.bitext.texts import clean, read_lines, read_rows
    from training.corpora.overlap import evaluation_texts, fingerprints
    from training.evaluation.embedder import Embedder

    chosen = _names(languages)
    if len(set(chosen)) != 2:
        raise TrainingError(f"--languages is {languages!r}; give two, like en,sw")
    if len(inputs) > 2:
        raise TrainingError(f"{len(inputs)} inputs; give two files of lines or one corpus table")
    if len(inputs) == 2 and exclude_source:
        raise TrainingError("--exclude-source is for a corpus table; files of lines have none")
    check_output(out)
    kind = Granularity(granularity)
    options = MiningOptions(kind, neighbours, margin, ratio)
    encoder = Embedder.open(bundle, threads, plain=False)
    banned = frozenset[bytes]()
    if evaluation is not None:
        banned = fingerprints(evaluation_texts(evaluation))
    sides = []
    for place, language in enumerate(chosen):
        found = (
            read_lines(inputs[place])
            if len(inputs) == 2
            else read_rows(inputs[0], language, kind, exclude_source)
        )
        sides.append(clean(found, language, kind, banned, limit))
    adapter = encoder.model.routing[kind]
    paired = mine_pairs(encoder, adapter, sides[0], sides[1], options)
    values = report(paired, sides[0], sides[1], options)
    for language, texts in values["texts"].items():
        click.echo(f"{language}: kept {texts['kept']:,} of {texts['read']:,} texts", err=True)
        for reason, count in texts["dropped"].items():
            click.echo(f"  {count:>12,}  {reason}", err=True)
    click.echo(f"kept {values['pairs']:,} of {values['neighbours']:,} neighbours", err=True)
    for reason, count in values["dropped"].items():
        click.echo(f"  {count:>12,}  {reason}", err=True)
    if "withheld" in values:
        measures = (f"{name} {value:.3g}" for name, value in values["withheld"].items() if value)
        click.echo(f"against the pairing that was withheld: {', '.join(measures)}", err=True)
    if report_file is not None:
        write_report(report_file, values)
        click.echo(f"wrote {report_file}", err=True)
    write_pairs(out, paired, sides[0], sides[1], kind)
    click.echo(f"wrote {out}", err=True)


@click.command("dictionary")
@click.argument("table", type=_FILE, required=False)
@click.option("--out", type=_NEW_FILE, required=True, help="the dictionary; must not exist")
@click.option(
    "--source", "sources", multiple=True, help="of words; again [default: docs/augmentation.md]"
)
@click.option("--words", "files", multiple=True, type=_FILE, help="TSV of word pairs; again")
@click.option("--languages", help="of the table's, like en,de,fr [default: all]")
def dictionary_command(
    table: Path | None,
    out: Path,
    sources: tuple[str, ...],
    files: tuple[Path, ...],
    languages: str | None,
) -> None:
    """Make a dictionary of the word lists in a corpus TABLE, of your own word pairs, or of both."""
    from training.dictionary import WORD_LISTS, Dictionary, from_table, merged, word_pairs

    if table is None and not files:
        raise TrainingError("give a corpus table, or --words FILE, or both")
    wanted = None if languages is None else _names(languages)
    found = Dictionary.of([]) if table is None else from_table(table, sources or WORD_LISTS, wanted)
    for file in files:
        found = merged(found, word_pairs(file))
    found.write(out)
    click.echo(f"wrote {out}: {len(found):,} words, {len(found.languages)} languages", err=True)


def _names(value: str) -> list[str]:
    return [name for each in value.split(",") if (name := each.strip())]
