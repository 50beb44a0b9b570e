"""`polygrain collection`: collections from the command line, on a folder or through a server."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import chain, groupby
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar, get_args
from urllib.parse import quote

import click
import orjson

from service.api.collection_schemas import KindName, KnownGranularity, ScoreName
from service.api.schemas import TextGranularity
from service.settings import read_settings

if TYPE_CHECKING:
    from service.collection_client import Client
    from service.collection_files import Document

_Command = TypeVar("_Command", bound=Callable[..., None])

_FORMAT_NAMES = ("lines", "tsv", "jsonl", "parquet")


@click.group(name="collection")
def collection_group() -> None:
    """Index texts and find them, in any language.

    On the state folder itself, or with --url through a running server: a folder belongs to one
    server or command at a time.
    """


def _where(command: _Command) -> _Command:
    """The options that say where collections are."""
    for option in (
        click.option("--threads", type=int, help="Cores that the model uses.  [default: all]"),
        click.option("--bundle", type=click.Path(path_type=Path), help="Folder of the bundle."),
        click.option(
            "--state-dir",
            type=click.Path(path_type=Path, file_okay=False),
            help="Folder of the collections.  [default: ~/.local/share/polygrain]",
        ),
        click.option("--url", help="Address of a running server to ask instead."),
    ):
        command = option(command)
    return command


@contextmanager
def _client(given: dict[str, Any]) -> Iterator[Client]:
    from service.collection_client import HttpClient, local_client

    url = given.pop("url")
    if url is None:
        with local_client(read_settings(given)) as client:
            yield client
        return
    if extra := [name for name, value in given.items() if value is not None]:
        option = extra[0].replace("_", "-")
        raise click.UsageError(f"--{option} is of the server at --url; leave one of them out")
    with closing(HttpClient(url)) as client:
        yield client


def _ask(given: dict[str, Any], method: str, path: str, body: Any = None) -> Any:  # noqa: ANN401
    from service.collection_client import ask

    with _client(given) as client:
        return ask(client, method, path, body)


def _path(name: str, rest: str = "") -> str:
    return f"/collections/{quote(name, safe='')}{rest}"


def _show(value: object) -> None:
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2))


def _index_options(command: _Command) -> _Command:
    for option in (
        click.option("--index-memory", type=click.IntRange(1), help="Bytes that it may hold."),
        click.option("--recall", type=float, help="Least recall@10 that is accepted."),
        click.option(
            "--index",
            type=click.Choice(get_args(KindName)),
            help="Kind of the index; auto chooses by measurement.",
        ),
    ):
        command = option(command)
    return command


def _index(
    index: str | None, recall: float | None, index_memory: int | None
) -> dict[str, Any] | None:
    wish = {"kind": index, "recall": recall, "memory_bytes": index_memory}
    chosen = {name: value for name, value in wish.items() if value is not None}
    return chosen or None


def _filter(context: click.Context, parameter: click.Parameter, value: str | None) -> object | None:
    if value is None:
        return None
    try:
        parsed: object = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise click.BadParameter(f"it is not JSON: {error}") from None
    return parsed


_filter_option = click.option(
    "--filter",
    "condition",
    callback=_filter,
    metavar="JSON",
    help='A condition, such as {"field": "language", "eq": "de"}.',
)


@collection_group.command()
@click.argument("name")
@click.option("--dimensions", type=int, help="Of every vector.  [default: those of the bundle]")
@click.option("--granularity", type=click.Choice(get_args(TextGranularity)))
@_index_options
@_where
def create(
    name: str,
    dimensions: int | None,
    granularity: str | None,
    index: str | None,
    recall: float | None,
    index_memory: int | None,
    **given: Any,  # noqa: ANN401
) -> None:
    """Make the collection NAME; one that is there already stays."""
    wish = _index(index, recall, index_memory)
    settings = {"dimensions": dimensions, "granularity": granularity, "index": wish}
    body = {name: value for name, value in settings.items() if value is not None}
    _show(_ask(given, "PUT", _path(name), body))


@collection_group.command()
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
@_where
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
    from service.collection_files import FORMATS, Columns, Source, read_documents

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
    with _client(given) as client, _progress(source.size) as read:
        written = _write(client, name, read_documents(source, read))
    click.echo(f"{written} documents are in {name}")


@contextmanager
def _progress(size: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, where somebody looks at it."""
    with click.progressbar(
        length=max(1, size), file=sys.stderr, hidden=not (size and sys.stderr.isatty())
    ) as bar:
        yield bar.update


def _write(client: Client, name: str, documents: Iterator[Document]) -> int:
    """Write documents, those with vectors as they are, a request for each run of a kind."""
    from service.collection_client import ask
    from service.collection_files import batches

    written = 0
    for batch in batches(documents):
        for made_by, run in groupby(batch, _made_by):
            some = list(run)
            if made_by is None:
                ask(client, "POST", _path(name, "/documents"), {"documents": some})
            else:
                fields = {key: value for key, value in made_by if value is not None}
                for each in some:
                    for key, _ in made_by:
                        each.pop(key, None)
                ask(client, "POST", _path(name, "/vectors"), {"documents": some, **fields})
            written += len(some)
    return written


def _made_by(document: Document) -> tuple[tuple[str, Any], ...] | None:
    """What made a document's vector; None where it has none."""
    if "vector" not in document:
        return None
    return tuple((key, document.get(key)) for key in ("bundle", "version", "adapter"))


@collection_group.command()
@click.argument("name")
@click.option("--id", "ids", multiple=True, help="Delete this document; may be given again.")
@_filter_option
@click.option("--whole", is_flag=True, help="Delete the collection with all that it holds.")
@_where
def delete(
    name: str,
    ids: tuple[str, ...],
    condition: object | None,
    whole: bool,
    **given: Any,  # noqa: ANN401
) -> None:
    """Delete documents of the collection NAME, or all of it."""
    if (bool(ids), condition is not None, whole).count(True) != 1:
        raise click.UsageError("say what to delete: --id, --filter or --whole, one of them")
    if whole:
        _ask(given, "DELETE", _path(name))
        click.echo(f"{name} is deleted")
        return
    body = {"ids": list(ids)} if ids else {"filter": condition}
    answer = _ask(given, "POST", _path(name, "/documents/delete"), body)
    click.echo(f"{answer['deleted']} documents are deleted from {name}")


@collection_group.command()
@click.argument("name")
@click.argument("queries", nargs=-1, required=True)
@click.option("--top-k", type=click.IntRange(1, 1_000), default=10, show_default=True)
@click.option("--score", type=click.Choice(get_args(ScoreName)), default="cosine")
@click.option("--min-score", type=float)
@click.option("--language", "languages", multiple=True, help="Only this; may be given again.")
@_filter_option
@click.option("--balance", is_flag=True, help="From all languages as evenly as they go.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer of the API.")
@_where
def search(
    name: str,
    queries: tuple[str, ...],
    top_k: int,
    score: str,
    min_score: float | None,
    languages: tuple[str, ...],
    condition: object | None,
    balance: bool,
    as_json: bool,
    **given: Any,  # noqa: ANN401
) -> None:
    """Find what is nearest to each of QUERIES in the collection NAME.

    Writes tab-separated lines: number of the query, score, id, language, text.
    """
    body: dict[str, Any] = {"queries": queries, "top_k": top_k, "score": score, "balance": balance}
    body |= {"min_score": min_score, "filter": condition, "languages": list(languages) or None}
    answer = _ask(given, "POST", _path(name, "/search"), body)
    if as_json:
        _show(answer)
        return
    for number, hits in enumerate(answer["results"], start=1):
        for hit in hits:
            text = " ".join((hit["text"] or "").split())
            click.echo(f"{number}\t{hit['score']:.4f}\t{hit['id']}\t{hit['language']}\t{text}")


@collection_group.command()
@click.argument("name", required=False)
@_where
def info(name: str | None, **given: Any) -> None:  # noqa: ANN401
    """Describe the collection NAME; without one, list all names."""
    if name is None:
        for each in _ask(given, "GET", "/collections")["collections"]:
            click.echo(each)
    else:
        _show(_ask(given, "GET", _path(name)))


@collection_group.command()
@click.argument("name")
@click.option("--embed", is_flag=True, help="First embed what another bundle or version did.")
@_index_options
@_where
def rebuild(
    name: str,
    embed: bool,
    index: str | None,
    recall: float | None,
    index_memory: int | None,
    **given: Any,  # noqa: ANN401
) -> None:
    """Build the indexes of the collection NAME anew."""
    body = {"embed": embed, "index": _index(index, recall, index_memory)}
    _show(_ask(given, "POST", _path(name, "/rebuild"), body))


@collection_group.command()
@click.argument("name")
@click.option("--vectors", is_flag=True, help="The vectors too.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to this file, whole or not at all, instead of standard output.",
)
@_where
def export(name: str, vectors: bool, out: Path | None, **given: Any) -> None:  # noqa: ANN401
    """Write all documents of the collection NAME as lines of JSON."""
    from service.files import written_whole

    path = _path(name, "/export?include=vector" if vectors else "/export")
    with _client(given) as client:
        if out is None:
            for piece in client.stream("GET", path):
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return
        with written_whole(out) as file:
            for piece in client.stream("GET", path):
                file.write(piece)


@collection_group.command(name="import")
@click.argument("name")
@click.argument("file", type=click.File("rb"), required=False)
@click.option(
    "--vectors",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A .npy array of vectors of your own, instead of FILE.",
)
@click.option("--ids", type=click.File("rb"), help="The ids of its rows, a line each.")
@click.option("--embed", is_flag=True, help="Embed the texts anew whatever vectors are there.")
@_where
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
    from service.collection_client import ask
    from service.collection_files import dimensions_of, read_export, read_vectors

    if (file is None) == (vectors is None) or (vectors is None) != (ids is None):
        raise click.UsageError("give FILE, or --vectors with --ids")
    if vectors is not None and ids is not None:
        documents = read_vectors(vectors, ids)
    else:
        assert file is not None
        documents = read_export(file, embed)
    with _client(given) as client:
        first = next(documents, None)
        if first is None:
            raise click.ClickException("there are no documents to import")
        names = ask(client, "GET", "/collections")["collections"]
        if name not in names:
            ask(client, "PUT", _path(name), dimensions_of(first))
        written = _write(client, name, chain([first], documents))
    click.echo(f"{written} documents are in {name}")
