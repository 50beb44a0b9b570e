"""How the rows are routed, per language, class and source, and in how much time."""

from __future__ import annotations

import math
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import click

from benchmarks.router.rows import Row, select, without_final_mark
from benchmarks.router.sources import PARAGRAPH, PHRASE, SENTENCE, SOURCES
from models.bundle import TEXT_GRANULARITIES, Granularity
from service.encoding.granularity import route


def print_report(rows: Sequence[Row], part: str, errors: int) -> None:
    """Every table on the "test" or "training" part, and up to `errors` wrong rows of each kind."""
    in_test = part == "test"
    trusted = select(rows, in_test, trusted_only=True)
    every = select(rows, in_test, trusted_only=False)
    click.echo(
        f"part: {part} (a hash of the id splits each training corpus in two; every test corpus"
    )
    click.echo("is test; translations of one id lie in one part; no text lies in both)\n")
    print_languages(trusted)
    click.echo("")
    print_confusion(trusted)
    click.echo("\nby source")
    print_sources(trusted)
    click.echo("\nset aside because most versions of the row contradict its source's class")
    print_set_aside([row for row in rows if row.in_test == in_test])
    click.echo(f"with them left in, macro average: {100 * macro_average(every):.2f} %")
    click.echo("\nphrases, and sentences with their final mark taken off (a harder question)")
    print_languages(without_final_mark(trusted))
    click.echo("\ntime")
    print_times(trusted)
    if errors:
        print_errors(trusted, errors)


# --- how often a row is routed to its class -------------------------------------------------------

Confusion = Counter[tuple[Granularity, Granularity]]


def confuse(rows: Iterable[Row]) -> Confusion:
    """How many rows of each true class were routed to each class."""
    return Counter((row.label, route(row.text)) for row in rows)


def recall(confusion: Confusion, label: Granularity) -> float:
    """The share of the rows of class `label` that were routed to it; nan where there is none."""
    total = sum(count for (true, _), count in confusion.items() if true == label)
    return confusion[label, label] / total if total else math.nan


def macro_recall(confusion: Confusion) -> float:
    """The mean of the recalls of the classes that have rows."""
    recalls = [recall(confusion, label) for label in TEXT_GRANULARITIES]
    return statistics.fmean(value for value in recalls if not math.isnan(value))


def by_language(rows: Iterable[Row]) -> dict[str, Confusion]:
    """A confusion table per language."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.language].append(row)
    return {language: confuse(group) for language, group in groups.items()}


def macro_average(rows: Iterable[Row]) -> float:
    """The mean over languages of the mean over classes of recall."""
    return statistics.fmean(macro_recall(table) for table in by_language(rows).values())


# --- the tables -----------------------------------------------------------------------------------


def print_languages(rows: Sequence[Row]) -> None:
    tables = by_language(rows)
    click.echo("language    rows (phr/sent/par)   recall %: phrase  sentence  paragraph     mean")
    for language, table in tables.items():
        counts = [
            sum(table[true, got] for got in TEXT_GRANULARITIES) for true in TEXT_GRANULARITIES
        ]
        recalls = [f"{100 * recall(table, label):9.1f}" for label in TEXT_GRANULARITIES]
        sizes = "/".join(map(str, counts))
        click.echo(
            f"{language:8} {sizes:>22} {'':9} {' '.join(recalls)} {100 * macro_recall(table):9.1f}"
        )
    click.echo(f"{'macro':8} {len(rows):>22} {'':39} {100 * macro_average(rows):9.2f}")


def print_confusion(rows: Sequence[Row]) -> None:
    table = confuse(rows)
    click.echo("true \\ routed  " + "".join(f"{label:>11}" for label in TEXT_GRANULARITIES))
    for true in TEXT_GRANULARITIES:
        click.echo(f"{true:15}" + "".join(f"{table[true, got]:11}" for got in TEXT_GRANULARITIES))


def print_sources(rows: Sequence[Row]) -> None:
    groups: dict[tuple[Granularity, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.label, row.source].append(row)
    for (label, source), group in groups.items():
        share = 100 * recall(confuse(group), label)
        click.echo(f"{label:10} {source:20} {len(group):6} rows {share:6.1f} %")


def print_set_aside(rows: Sequence[Row]) -> None:
    for source in SOURCES:
        of_source = [row for row in rows if row.source == source.name]
        if aside := sum(row.set_aside for row in of_source):
            click.echo(f"  {source.label:10} {source.name:20} {aside:7} of {len(of_source):7} rows")


def print_errors(rows: Sequence[Row], count: int) -> None:
    wrong: dict[tuple[str, Granularity, Granularity], list[Row]] = defaultdict(list)
    for row in rows:
        if (routed := route(row.text)) != row.label:
            wrong[row.language, row.label, routed].append(row)
    for (language, label, routed), group in wrong.items():
        click.echo(f"\n{language}: {len(group)} {label} routed to {routed}")
        for row in group[:count]:
            click.echo(f"  {row.source:16} {row.text[:160]}")


def time_per_text(texts: Sequence[str], repeats: int = 15) -> tuple[float, float, float]:
    """Microseconds per text over whole passes: the median, the quickest and the slowest pass."""
    passes = []
    for _ in range(repeats):
        start = time.perf_counter()
        for text in texts:
            route(text)
        passes.append((time.perf_counter() - start) / len(texts) * 1e6)
    return statistics.median(passes), min(passes), max(passes)


def print_times(rows: Sequence[Row]) -> None:
    kinds = {
        "phrases of five words": [
            row.text for row in rows if row.label is PHRASE and len(row.text.split()) == 5
        ],
        "all phrases": [row.text for row in rows if row.label is PHRASE],
        "sentences": [row.text for row in rows if row.label is SENTENCE],
        "paragraphs": [row.text for row in rows if row.label is PARAGRAPH],
    }
    for kind, texts in kinds.items():
        texts = texts[:2000] if kind == "phrases of five words" else texts[::6]
        median, quickest, slowest = time_per_text(texts)
        length = statistics.median(len(text) for text in texts)
        click.echo(
            f"{kind:24} {len(texts):5} texts, median {length:4.0f} characters: "
            f"{median:5.1f} µs per text (15 passes: {quickest:.1f} to {slowest:.1f})"
        )
