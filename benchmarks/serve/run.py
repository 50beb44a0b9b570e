"""One run: every entrant in turn, round after round, all on the same texts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

from benchmarks import texts
from benchmarks.serve import agreement
from benchmarks.serve.arena import Arena, Running, idle_cpu, start
from benchmarks.serve.connection import Request
from benchmarks.serve.contestants import LARGE_REQUEST_TEXTS, Contestant, Encoding
from benchmarks.serve.load import Stalled, closed_loop, open_loop, poisson
from benchmarks.serve.processes import Process, ServerFailed, Worker
from benchmarks.serve.results import Results, Row
from benchmarks.serve.scenarios import Scenario, requests
from benchmarks.serve.window import Window
from benchmarks.texts import Kind

# After the server's name: our engine with the same settings and no HTTP.
BARE = ", no HTTP"

_IDLE_S = 1.0
_CEILING_S = 0.5

_Thing = TypeVar("_Thing")


@dataclass(frozen=True, slots=True)
class Plan:
    """How a run is done."""

    scenarios: tuple[Scenario, ...]
    rounds: int
    seconds: float
    # Load before each window opens: a server that was paused finds its stride.
    warm_s: float
    encodings: tuple[Encoding, ...]
    # The lowest cosine that a server may have with the reference.
    min_cosine: float
    # Servers that are measured beside a large request.
    beside_large: tuple[str, ...]
    # Our bare engine: its settings, by the name of the server that has the same.
    bare: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Weights:
    """A model, and who serves it."""

    name: str
    bundle: Path
    contestants: tuple[Contestant, ...]


@dataclass(frozen=True, slots=True)
class _Entrant:
    """Someone whose turn comes, and the window of a turn by round."""

    name: str
    server: str
    process: Process
    measure: Callable[[int], Window]


def run(weights: Weights, plan: Plan, logs: Path, save: Callable[[Results], None]) -> Results:
    """Measure all contestants of `weights`; `save` is called after each scenario.

    Raises Disagreement, before anything is timed, where one computes something else, and
    ServerFailed where one does not start. One that breaks later is out, and `failures` tells.
    """
    words = texts.words_of(weights.bundle / "tokenizer.json")
    peers = [one.name for one in weights.contestants if one.is_peer]
    servers = [one.name for one in weights.contestants]
    results = Results(weights.name, servers, peers, rounds=plan.rounds)
    logs.mkdir(parents=True, exist_ok=True)
    _check_agreement(weights, plan, words, logs, results)
    with Arena() as arena:
        current = _Run(plan, words, logs, results, arena)
        current.start(weights)
        for scenario in plan.scenarios:
            click.echo(f"{weights.name}: {scenario.name}", err=True)
            current.measure(scenario)
            save(results)
        current.finish()
        save(results)
    return results


def _check_agreement(
    weights: Weights, plan: Plan, words: Sequence[str], logs: Path, results: Results
) -> None:
    """Start each contestant alone, compare its vectors, and stop it.

    This also reads every file once, and lets those that write optimised models do so.
    """
    probes = agreement.probes(words)
    found = {}
    for contestant in weights.contestants:
        click.echo(f"{weights.name}: checking {contestant.name}", err=True)
        server, _ = start(contestant, logs)
        with server.process:
            found[contestant.name] = server.embed(probes)
    # A peer, where there is one: nobody then marks his own homework.
    results.reference = (results.peers or results.servers)[0]
    results.lowest_cosine = agreement.check(found, results.reference, plan.min_cosine)


class _Run:
    """The state of a run: who is alive, and what was found so far."""

    def __init__(
        self, plan: Plan, words: Sequence[str], logs: Path, results: Results, arena: Arena
    ) -> None:
        self._plan, self._words, self._logs = plan, words, logs
        self._results, self._arena = results, arena
        self._servers: dict[str, Running] = {}
        self._bare: dict[str, Worker] = {}
        self._ceiling = Worker("ceiling", "benchmarks.serve.ceiling", logs / "ceiling.log")
        arena.admit(self._ceiling)

    def start(self, weights: Weights) -> None:
        """Cold starts in turn, all but the last stopped at once; then the bare engines."""
        for round_ in range(self._plan.rounds):
            for contestant in _in_turn(weights.contestants, round_):
                server, seconds = start(contestant, self._logs)
                name = contestant.name
                self._results.cold_start_s.setdefault(name, []).append(seconds)
                if round_ < self._plan.rounds - 1:
                    server.process.stop()
                    continue
                self._results.idle_cpu[name] = idle_cpu(server.process, _IDLE_S)
                self._arena.admit(server.process)
                self._servers[name] = server
        self._servers = {one.name: self._servers[one.name] for one in weights.contestants}
        for name, environment in self._plan.bare.items():
            arguments, log = [str(weights.bundle)], self._logs / f"{name}.bare.log"
            worker = Worker(name, "benchmarks.serve.bare", log, arguments, environment)
            self._arena.admit(worker)
            self._bare[name] = worker

    def measure(self, scenario: Scenario) -> None:
        """All rounds of one scenario."""
        entrants = self._entrants(scenario)
        for round_ in range(self._plan.rounds):
            self._measure_ceiling()
            for entrant in _in_turn(entrants, round_):
                with self._turn(entrant.name, entrant.process) as may_run:
                    if may_run:
                        window = entrant.measure(round_)
                        row = Row(scenario.name, entrant.name, round_, window)
                        self._results.rows.append(row)

    def finish(self) -> None:
        """What is measured once all scenarios are done: memory, and the large request."""
        for name, server in self._servers.items():
            self._results.memory[name] = server.process.tree.memory()
        for round_ in range(self._plan.rounds):
            for name in _in_turn(self._plan.beside_large, round_):
                server = self._servers[name]
                with self._turn(f"{name} beside a large request", server.process) as may_run:
                    if may_run:
                        self._beside_large(server)

    def _measure_ceiling(self) -> None:
        with self._arena.turn(self._ceiling):
            for precision, rate in self._ceiling.ask({"seconds": _CEILING_S}).items():
                self._results.ceiling_gflops.setdefault(precision, []).append(rate)

    @contextmanager
    def _turn(self, name: str, process: Process) -> Iterator[bool]:
        """The turn of one that has not failed; what breaks in it takes it out of the run."""
        if name in self._results.failures:
            yield False
            return
        try:
            with self._arena.turn(process):
                yield True
        except (OSError, ValueError, Stalled, ServerFailed) as error:
            self._results.failures[name] = f"{type(error).__name__}: {error}"
            click.echo(f"{name} is out: {error}", err=True)

    def _entrants(self, scenario: Scenario) -> list[_Entrant]:
        batches = scenario.batches(self._words, seed=0)
        entrants = [
            self._served(server, encoding, scenario, batches)
            for encoding in self._plan.encodings
            for server in self._servers.values()
            if encoding in server.contestant.dialect.encodings
        ]
        if scenario.rate_per_s is None:
            file = self._logs / "batches.json"
            file.write_text(json.dumps(batches), encoding="utf-8")
            entrants += [self._bare_entrant(name, scenario, file) for name in self._bare]
        for entrant in entrants:
            self._results.entrants[entrant.name] = entrant.server
        return entrants

    def _served(
        self,
        server: Running,
        encoding: Encoding,
        scenario: Scenario,
        batches: Sequence[Sequence[str]],
    ) -> _Entrant:
        pool = requests(batches, server.contestant.dialect, encoding)
        plan, cpu = self._plan, server.process.tree.cpu_s

        def measure(round_: int) -> Window:
            # Each round has other texts, the same for all.
            first = round_ * len(pool) // plan.rounds
            turned = pool[first:] + pool[:first]
            if scenario.rate_per_s is None:
                return closed_loop(
                    server.port,
                    turned,
                    clients=scenario.clients,
                    seconds=plan.seconds,
                    warm_s=plan.warm_s,
                    cpu=cpu,
                )
            arrivals = poisson(scenario.rate_per_s, plan.warm_s + plan.seconds, seed=round_)
            return open_loop(server.port, turned, arrivals, warm_s=plan.warm_s, cpu=cpu)

        name = server.contestant.name
        return _Entrant(f"{name}, {encoding}", name, server.process, measure)

    def _bare_entrant(self, name: str, scenario: Scenario, batches: Path) -> _Entrant:
        worker, plan = self._bare[name], self._plan

        def measure(round_: int) -> Window:
            task = {
                "batches": str(batches),
                "skip": round_ / plan.rounds,
                "clients": scenario.clients,
                "seconds": plan.seconds,
                "warm_s": plan.warm_s,
            }
            return Window(**worker.ask(task))

        return _Entrant(f"{name}{BARE}", name, worker, measure)

    def _beside_large(self, server: Running) -> None:
        """p99 of single phrases from one client: alone, then while one large request runs."""
        dialect, plan = server.contestant.dialect, self._plan
        pool = requests(
            Scenario(Kind.PHRASE, 1, 1).batches(self._words, 1), dialect, Encoding.FLOAT
        )
        many = texts.make(self._words, Kind.SENTENCE, LARGE_REQUEST_TEXTS, seed=1)
        large = Request(dialect.request(many, Encoding.FLOAT), len(many))
        for found, companion in (
            (self._results.alone_p99_ms, None),
            (self._results.beside_large_p99_ms, large),
        ):
            window = closed_loop(
                server.port,
                pool,
                clients=1,
                seconds=plan.seconds,
                warm_s=plan.warm_s,
                companion=companion,
            )
            if window.failed:
                raise ServerFailed(f"{window.failed} requests were refused")
            found.setdefault(server.contestant.name, []).append(window.p99_ms)


def _in_turn(things: Sequence[_Thing], round_: int) -> Sequence[_Thing]:
    """A B C, then C B A: what drifts steadily then favours nobody."""
    return things if round_ % 2 == 0 else things[::-1]
