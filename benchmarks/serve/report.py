"""The results as Markdown: a table for each scenario, and the ratios that matter."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from benchmarks.serve.results import Results
from benchmarks.serve.run import BARE
from benchmarks.serve.window import Spread, Window, ratios, spread

_Figure = Callable[[Window], float]


def markdown(results: Results) -> str:
    """The whole report of one set of weights."""
    parts = [f"## {results.weights}", *_conditions(results), *_processes(results)]
    for scenario in results.scenarios():
        parts += _scenario(results, scenario)
    return "\n".join([*parts, *_summary(results)])


def best(results: Results, scenario: str, figure: _Figure, *, highest: bool) -> str | None:
    """The peer, in any encoding, that is best in a scenario by the median of `figure`.

    None where no peer took part in all rounds.
    """
    medians = {
        entrant: spread([figure(window) for window in results.windows(scenario, entrant)]).median
        for entrant, server in results.entrants.items()
        if server in results.peers and results.complete(scenario, entrant)
    }
    if not medians:
        return None
    return (max if highest else min)(medians, key=lambda entrant: medians[entrant])


def _conditions(results: Results) -> list[str]:
    lines = ["", "| sustained GEMM | GFLOP/s |", "|---|---|"]
    lines += [f"| {name} | {_spread(spread(v))} |" for name, v in results.ceiling_gflops.items()]
    lines += [f"\n{name} is out: {reason}" for name, reason in results.failures.items()]
    return lines


def _processes(results: Results) -> list[str]:
    lines = [
        "",
        f"| server | lowest cosine with {results.reference} | cold start, s | peak memory, MB | "
        "share of the best peer's | shared fairly, MB | idle CPU, % of a core |",
        "|---|---|---|---|---|---|---|",
    ]
    least = min(
        (results.memory[peer].peak_resident for peer in results.peers if peer in results.memory),
        default=None,
    )
    for name in results.servers:
        memory = results.memory.get(name)
        lines.append(
            f"| {name} | {results.lowest_cosine[name]:.6f} "
            f"| {_spread(spread(results.cold_start_s[name]))} "
            f"| {memory.peak_resident / 1e6:.0f} "
            f"| {_ratio(memory.peak_resident, least)} "
            f"| {memory.proportional / 1e6:.0f} "
            f"| {100 * results.idle_cpu[name]:.1f} |"
            if memory
            else f"| {name} | {results.lowest_cosine[name]:.6f} | – | – | – | – | – |"
        )
    return lines


def _scenario(results: Results, scenario: str) -> list[str]:
    reference = best(results, scenario, lambda window: window.texts_per_s, highest=True)
    lines = [
        "",
        f"### {scenario}",
        "",
        "| | requests/s | texts/s | over the best peer | p50, ms | p99, ms | CPU s / 1,000 texts "
        "| load generator, % of a core | failed |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for entrant in results.entrants:
        windows = results.windows(scenario, entrant)
        if not windows:
            continue
        over = "–"
        if reference and results.complete(scenario, entrant):
            other = [window.texts_per_s for window in results.windows(scenario, reference)]
            over = _spread(ratios([window.texts_per_s for window in windows], other))
        lines.append(
            f"| {entrant} | {_median(windows, lambda w: w.requests_per_s)} "
            f"| {_median(windows, lambda w: w.texts_per_s)} | {over} "
            f"| {_median(windows, lambda w: w.p50_ms)} | {_median(windows, lambda w: w.p99_ms)} "
            f"| {_median(windows, lambda w: w.cpu_s_per_1000)} "
            f"| {_median(windows, lambda w: 100 * w.generator_cpu)} "
            f"| {sum(window.failed for window in windows)} |"
        )
    return lines


def _summary(results: Results) -> list[str]:
    """For each of our servers: against the best peer, against our engine, and with itself."""
    lines = [
        "",
        "### Ratios",
        "",
        "Median of the rounds, lowest and highest in brackets.",
        "",
        "| server | what | over | ratio |",
        "|---|---|---|---|",
    ]
    for server in results.servers:
        if server in results.peers:
            continue
        for scenario in results.scenarios():
            lines += _against_peer(results, scenario, server, "texts/s", _texts_per_s, True)
            lines += _against_peer(results, scenario, server, "p50", _p50_ms, False)
            lines += _against_bare(results, scenario, server)
        if alone := results.alone_p99_ms.get(server):
            beside = results.beside_large_p99_ms[server]
            lines.append(
                f"| {server} | p99 of single phrases beside a large request | alone "
                f"| {_spread(ratios(beside, alone))} |"
            )
    return lines


def _texts_per_s(window: Window) -> float:
    return window.texts_per_s


def _p50_ms(window: Window) -> float:
    return window.p50_ms


def _cpu(window: Window) -> float:
    return window.cpu_s_per_1000


def _against_peer(
    results: Results, scenario: str, server: str, what: str, figure: _Figure, highest: bool
) -> list[str]:
    other = best(results, scenario, figure, highest=highest)
    if other is None:
        return []
    return [
        _ratio_row(results, scenario, entrant, other, what, figure)
        for entrant in _served(results, scenario, server)
    ]


def _against_bare(results: Results, scenario: str, server: str) -> list[str]:
    bare = f"{server}{BARE}"
    if not results.complete(scenario, bare):
        return []
    return [
        _ratio_row(results, scenario, entrant, bare, what, figure)
        for entrant in _served(results, scenario, server)
        for what, figure in (("texts/s", _texts_per_s), ("CPU s / 1,000 texts", _cpu))
    ]


def _served(results: Results, scenario: str, server: str) -> list[str]:
    """The entrants of a server that have a window in every round."""
    return [
        entrant
        for entrant, of in results.entrants.items()
        if of == server and not entrant.endswith(BARE) and results.complete(scenario, entrant)
    ]


def _ratio_row(
    results: Results, scenario: str, entrant: str, other: str, what: str, figure: _Figure
) -> str:
    ours, others = (
        [figure(window) for window in results.windows(scenario, name)] for name in (entrant, other)
    )
    return f"| {entrant} | {scenario}: {what} | {other} | {_spread(ratios(ours, others))} |"


def _median(windows: Sequence[Window], figure: _Figure) -> str:
    return _number(spread([figure(window) for window in windows]).median)


def _spread(values: Spread) -> str:
    return f"{_number(values.median)} ({_number(values.low)} to {_number(values.high)})"


def _ratio(one: float, other: float | None) -> str:
    return "–" if other is None else _number(one / other)


def _number(value: float) -> str:
    """Three digits that count; whole above a hundred."""
    if math.isnan(value):
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
