"""`polygrain collection`: collections from the command line, on a folder or through a server."""

from __future__ import annotations

from typing import Any, get_args

import click
import orjson

from service.api.collection_schemas import KindName, ScoreName
from service.api.schemas import TextGranularity
from service.commands.collection_access import ask_collections, collection_path, where
from service.commands.collection_documents import add, export, import_
from service.commands.options import Command, filter_option


@click.group(name="collection")
def collection_group() -> None:
    """Index texts and find them, in any language.

    On the state folder itself, or with --url through a running server: a folder belongs to one
    server or command at a time.
    """


collection_group.add_command(add)
collection_group.add_command(export)
collection_group.add_command(import_)


def _show(value: object) -> None:
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2))


def _index_options(command: Command) -> Command:
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


@collection_group.command()
@click.argument("name")
@click.option("--dimensions", type=int, help="Of every vector.  [default: those of the bundle]")
@click.option("--granularity", type=click.Choice(get_args(TextGranularity)))
@_index_options
@where
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
    _show(ask_collections(given, "PUT", collection_path(name), body))


@collection_group.command()
@click.argument("name")
@click.option("--id", "ids", multiple=True, help="Delete this document; may be given again.")
@filter_option
@click.option("--whole", is_flag=True, help="Delete the collection with all that it holds.")
@where
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
        ask_collections(given, "DELETE", collection_path(name))
        click.echo(f"{name} is deleted")
        return
    body = {"ids": list(ids)} if ids else {"filter": condition}
    answer = ask_collections(given, "POST", collection_path(name, "/documents/delete"), body)
    click.echo(f"{answer['deleted']} documents are deleted from {name}")


@collection_group.command()
@click.argument("name")
@click.argument("queries", nargs=-1, required=True)
@click.option("--top-k", type=click.IntRange(1, 1_000), default=10, show_default=True)
@click.option("--score", type=click.Choice(get_args(ScoreName)), default="cosine")
@click.option("--min-score", type=float)
@click.option("--language", "languages", multiple=True, help="Only this; may be given again.")
@filter_option
@click.option("--balance", is_flag=True, help="From all languages as evenly as they go.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer of the API.")
@where
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
    answer = ask_collections(given, "POST", collection_path(name, "/search"), body)
    if as_json:
        _show(answer)
        return
    for number, hits in enumerate(answer["results"], start=1):
        for hit in hits:
            text = " ".join((hit["text"] or "").split())
            click.echo(f"{number}\t{hit['score']:.4f}\t{hit['id']}\t{hit['language']}\t{text}")


@collection_group.command()
@click.argument("name", required=False)
@where
def info(name: str | None, **given: Any) -> None:  # noqa: ANN401
    """Describe the collection NAME; without one, list all names."""
    if name is None:
        for each in ask_collections(given, "GET", "/collections")["collections"]:
            click.echo(each)
    else:
        _show(ask_collections(given, "GET", collection_path(name)))


@collection_group.command()
@click.argument("name")
@click.option("--embed", is_flag=True, help="First embed what another bundle or version did.")
@_index_options
@where
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
    _show(ask_collections(given, "POST", collection_path(name, "/rebuild"), body))
