"""How well a collection finds paragraphs across languages, through HTTP, beside exact search.

    python -m benchmarks.search_quality --data DATA [--questions N] [--languages en,de]

starts `polygrain serve` on a folder of its own and asks it what XQuAD asks (240 paragraphs of
Wikipedia and 1,190 questions on them, in 12 languages; Artetxe, Ruder and Yogatama, 2020), the
questions in an order drawn once:

1. The English paragraphs are a collection; the questions of every other language seek theirs.
   nDCG@10 of exact search in numpy over vectors made in this process (offline), of the service by
   cosine, and of the service by CSLS, with 64 questions to a request and with all in one.
2. The paragraphs of all languages are one collection; a question has as many right answers as
   there are languages. nDCG@10, and how many languages stand among the ten results, by cosine, by
   CSLS and by cosine in balance.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.machine import processor
from benchmarks.serve.processes import Process, first_answer, free_port
from models.bundle import DEFAULT_BUNDLE
from service.client.http import Client, HttpClient, ask
from service.encoding.encoder import Encoder, Unit
from service.encoding.session import Vectors
from training.evaluation.languages import ANCHOR, Languages
from training.evaluation.measures import ndcg_at
from training.evaluation.similarity import ranks
from training.evaluation.tasks.xquad import read_paragraphs, read_questions

LANGUAGES = ("en", "ar", "de", "el", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh")
_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
_TOP = 10
_PER_REQUEST = 64
_WRITTEN = 120
_SEED = 7


@dataclass(frozen=True, slots=True)
class Questions:
    """The questions of one language, with the id of the paragraph that answers each."""

    texts: list[str]
    answers: list[str]


Pool = dict[str, str]  # id → text
Found = list[list[str]]  # for each question the ids found, best first


@click.command(context_settings={"show_default": True})
@click.option("--data", type=_FOLDER, required=True, help="folder of the corpora")
@click.option("--bundle", type=_FOLDER, default=DEFAULT_BUNDLE)
@click.option("--questions", type=click.IntRange(1), default=1_190, help="of each language")
@click.option("--languages", default=",".join(LANGUAGES), help="with English, by commas")
def main(data: Path, bundle: Path, questions: int, languages: str) -> None:
    """Index XQuAD, ask its questions, and print two tables."""
    chosen = Languages.parse(languages.split(","))
    pools = read_paragraphs(data / "eval", chosen)
    asked = _questions(data / "eval", chosen, questions)
    offline = _offline(bundle, pools[ANCHOR], asked)
    with _serving(bundle) as client:
        _index(client, "english", {ANCHOR: pools[ANCHOR]})
        _index(client, "all", pools)
        click.echo(f"{bundle.name} on {processor()}\n")
        _print_english(client, asked, offline)
        _print_all(client, asked, len(pools))


def _questions(folder: Path, chosen: Languages, count: int) -> dict[str, Questions]:
    by_language: dict[str, Questions] = {}
    for each in read_questions(folder, chosen):
        found = by_language.setdefault(each.language, Questions([], []))
        found.texts.append(each.question)
        found.answers.append(each.paragraph_id)
    # In the file the questions on one paragraph follow each other, as no users' do.
    rng = np.random.default_rng(_SEED)
    order = rng.permutation(max(len(each.texts) for each in by_language.values()))[:count]
    return {
        language: Questions([each.texts[i] for i in order], [each.answers[i] for i in order])
        for language, each in sorted(by_language.items())
    }


def _offline(bundle: Path, pool: Pool, asked: dict[str, Questions]) -> dict[str, float]:
    """nDCG@10 of exact search, by vectors of the paragraph adapter made in this process."""
    encoder = Encoder.open(bundle)
    adapter = next(name for g, name in encoder.manifest.routing.items() if g == "paragraph")

    def embed(texts: Sequence[str]) -> Vectors:
        return encoder.encode([Unit(text, "text", adapter=adapter) for text in texts]).vectors

    targets = embed(list(pool.values()))
    place = {id_: number for number, id_ in enumerate(pool)}
    return {
        language: ndcg_at(
            ranks(embed(each.texts), targets, np.array([place[id_] for id_ in each.answers])), _TOP
        )
        for language, each in asked.items()
        if language != ANCHOR
    }


@contextmanager
def _serving(bundle: Path) -> Iterator[Client]:
    """A server on a state folder of its own, that remembers the questions it has read."""
    port = free_port()
    with tempfile.TemporaryDirectory() as state:
        command = [sys.executable, "-c", "from service.cli import main; main()", "serve"]
        command += ["--bundle", str(bundle), "--port", str(port), "--state-dir", state]
        environment = {"POLYGRAIN_CACHE_BYTES": str(1 << 28)}
        log = Path(state) / "server.log"
        with Process("polygrain serve", command, environment, log) as process:
            first_answer(process, port, b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with closing(HttpClient(f"127.0.0.1:{port}")) as client:
                yield client


def _index(client: Client, name: str, pools: dict[str, Pool]) -> None:
    ask(client, "PUT", f"/collections/{name}", {"granularity": "paragraph"})
    documents = [
        {"id": f"{language}:{id_}", "text": text, "language": language}
        for language, pool in pools.items()
        for id_, text in pool.items()
    ]
    for start in range(0, len(documents), _WRITTEN):
        some = documents[start : start + _WRITTEN]
        ask(client, "POST", f"/collections/{name}/documents", {"documents": some})


def _search(client: Client, name: str, texts: list[str], per_request: int, **more: Any) -> Found:  # noqa: ANN401
    found: Found = []
    for start in range(0, len(texts), per_request):
        body = {"queries": texts[start : start + per_request], "top_k": _TOP, "include": [], **more}
        answer = ask(client, "POST", f"/collections/{name}/search", body)
        found += [[hit["id"] for hit in hits] for hits in answer["results"]]
    return found


def gain(found: Found, answers: Sequence[str], right: int) -> float:
    """nDCG@10 × 100, where each question has so many `right` answers, of the paragraph's id."""
    discounts = 1 / np.log2(np.arange(2, _TOP + 2))
    ideal = discounts[: min(right, _TOP)].sum()
    gains = [
        sum(
            discount
            for discount, id_ in zip(discounts, ids, strict=False)
            if id_.split(":", 1)[1] == answer
        )
        for ids, answer in zip(found, answers, strict=True)
    ]
    return 100 * float(np.mean(gains) / ideal)


def _print_english(client: Client, asked: dict[str, Questions], offline: dict[str, float]) -> None:
    count = len(asked[ANCHOR].texts)
    click.echo(
        f"| questions in | offline | cosine | CSLS, {_PER_REQUEST} a request | CSLS, {count} |"
    )
    click.echo("|---|---|---|---|---|")
    rows = []
    for language, figure in offline.items():
        each = asked[language]
        rows.append(
            [
                figure,
                *(
                    gain(_search(client, "english", each.texts, size, score=score), each.answers, 1)
                    for score, size in (("cosine", 64), ("csls", _PER_REQUEST), ("csls", count))
                ),
            ]
        )
        _print_row(language, rows[-1])
    _print_row("mean", np.mean(rows, axis=0))


def _print_all(client: Client, asked: dict[str, Questions], languages: int) -> None:
    click.echo(f"\n| {languages} languages in one collection | nDCG@10 | languages in the ten |")
    click.echo("|---|---|---|")
    ways: dict[str, dict[str, Any]] = {
        "cosine": {},
        f"CSLS, {_PER_REQUEST} a request": {"score": "csls"},
        "cosine in balance": {"balance": True},
    }
    for way, more in ways.items():
        gains, spread = [], []
        for each in asked.values():
            found = _search(client, "all", each.texts, _PER_REQUEST, **more)
            gains.append(gain(found, each.answers, languages))
            spread.append(np.mean([len({id_.split(":", 1)[0] for id_ in ids}) for ids in found]))
        click.echo(f"| {way} | {np.mean(gains):.2f} | {np.mean(spread):.2f} |")


def _print_row(name: str, figures: Sequence[float] | np.ndarray[Any, Any]) -> None:
    click.echo(f"| {name} | " + " | ".join(f"{figure:.2f}" for figure in figures) + " |")


if __name__ == "__main__":
    main()
