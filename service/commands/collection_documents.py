"""`polygrain collection add`, `export` and `import`: documents from files, and to them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, groupby
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, get_args

import click

from service.api.collection_schemas import KnownGranularity
from service.commands.collection_access import collection_path, collections_of, where

if TYPE_CHECKING:
    from service.client.http import Client
    from service.commands.collection_files import Document

_FORMAT_NAMES = ("lines", "tsv", "jsonl", "parquet")


@click.command()
@click.argument("name")
@click.argument("file", type=click.File("rb"), default="-")
@click.option(
    "--format",
    "kind",
    type=click.Choice(_FORMAT_NAMES),
    help="What FILE holds.  [default: by its ending, or lines]",
)
@click.option("--prefix", help="Goes before the number of a line in its id.  [default: FILE:]")
@click.option("--id-column", default="id", show_default=True)
@click.option("--text-column", default="text", show_default=True)
@click.option("--language-column", help="[default: language or lang]")
@click.option("--language", help="Language of all texts.  [default: told from each text]")
@click.option("--granularity", type=click.Choice(get_args(KnownGranularity)))
@click.option("--skip-blank", is_flag=True, help="Leave blank lines out instead of stopping.")
@where
def add(
    name: str,
    file: IO[bytes],
    kind: str | None,
    prefix: str | None,
    id_column: str,
    text_column: str,
    language_column: str | None,
    language: str | None,
    granularity: str | None,
    skip_blank: bool,
    **given: Any,  # noqa: ANN401
) -> None:
    """Write the texts of FILE (or - for standard input) into the collection NAME.

    Lines of text, TSV with a header, lines of JSON, or Parquet. A document takes the place of one
    with its id. Columns beside id, text, language and granularity become metadata.
    """
    from service.commands.collection_files import Source, read_documents
    from service.rows import FORMATS, Columns

    named = getattr(file, "name", "")
    path = Path(named) if isinstance(named, str) and named not in ("", "<stdin>") else None
    chosen = kind or (FORMATS.get(path.suffix.lower()) if path else None) or "lines"
    source = Source(
        file,
        chosen,  # type: ignore[arg-type]  # click has checked it
        Columns(id_column, text_column, language_column),
        prefix if prefix is not None else f"{path.name}:" if path else "",
        language,
        granularity,
        skip_blank,
    )
    with collections_of(given) as client, _progress(source.size) as read:
        written = _write(client, name, read_documents(source, read))
    click.echo(f"{written} documents are in {name}")


@contextmanager
def _progress(size: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, where somebody looks at it."""
    with click.progressbar(
        length=max(1, size), file=sys.stderr, hidden=not (size and sys.stderr.isatty())
    ) as bar:
        yield bar.update


@click.command()
@click.argument("name")
@click.option("--vectors", is_flag=True, help="The vectors too.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to this file, whole or not at all, instead of standard output.",
)
@where
def export(name: str, vectors: bool, out: Path | None, **given: Any) -> None:  # noqa: ANN401
    """Write all documents of the collection NAME as lines of JSON."""
    from service.commands.files import written_whole

    path = collection_path(name, "/export?include=vector" if vectors else "/export")
    with collections_of(given) as client:
        if out is None:
            for piece in client.stream("GET", path):
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return
        with written_whole(out) as file:
            for piece in client.stream("GET", path):
                file.write(piece)


@click.command(name="import")
@click.argument("name")
@click.argument("file", type=click.File("rb"), required=False)
@click.option(
    "--vectors",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A .npy array of vectors of your own, instead of FILE.",
)
@click.option("--ids", type=click.File("rb"), help="The ids of its rows, a line each.")
@click.option("--embed", is_flag=True, help="Embed the texts anew whatever vectors are there.")
@where
def import_(
    name: str,
    file: IO[bytes] | None,
    vectors: Path | None,
    ids: IO[bytes] | None,
    embed: bool,
    **given: Any,  # noqa: ANN401
) -> None:
    """Write what `export` wrote into the collection NAME, which is made where it is missing.

    Vectors that the file holds are taken as they are.
    """
    from service.client.http import ask
    from service.commands.collection_files import dimensions_of, read_export, read_vectors

    if (file is None) == (vectors is None) or (vectors is None) != (ids is None):
        raise click.UsageError("give FILE, or --vectors with --ids")
    if vectors is not None and ids is not None:
        documents = read_vectors(vectors, ids)
    else:
        assert file is not None
        documents = read_export(file, embed)
    with collections_of(given) as client:
        first = next(documents, None)
        if first is None:
            raise click.ClickException("there are no documents to import")
        names = ask(client, "GET", "/collections")["collections"]
        if name not in names:
            ask(client, "PUT", collection_path(name), dimensions_of(first))
        written = _write(client, name, chain([first], documents))
    click.echo(f"{written} documents are in {name}")


def _write(client: Client, name: str, documents: Iterator[Document]) -> int:
    """Write documents, those with vectors as they are, a request for each run of a kind."""
    from service.client.http import ask
    from service.commands.collection_files import batches

    written = 0
    for batch in batches(documents):
        for made_by, run in groupby(batch, _made_by):
            some = list(run)
            if made_by is None:
                ask(client, "POST", collection_path(name, "/documents"), {"documents": some})
            else:
                fields = {key: value for key, value in made_by if value is not None}
                for each in some:
                    for key, _ in made_by:
                        each.pop(key, None)
                body = {"documents": some, **fields}
                ask(client, "POST", collection_path(name, "/vectors"), body)
            written += len(some)
    return written


def _made_by(document: Document) -> tuple[tuple[str, Any], ...] | None:
    """What made a document's vector; None where it has none."""
    if "vector" not in document:
        return None
    return tuple((key, document.get(key)) for key in ("bundle", "version", "adapter"))
