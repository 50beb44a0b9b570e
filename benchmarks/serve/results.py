"""What a run found, as it is written to JSON."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.serve.window import Window
from benchmarks.usage import Memory


@dataclass(frozen=True, slots=True)
class Row:
    """One entrant's turn in one round of one scenario."""

    scenario: str
    entrant: str
    round: int
    window: Window


@dataclass(slots=True)
class Results:
    """Everything measured on one set of weights. Entrants are servers with an encoding."""

    weights: str
    servers: list[str]
    peers: list[str]
    # Which of the servers each entrant is.
    entrants: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    # The lowest cosine of each server's vectors with those of the reference.
    reference: str = ""
    lowest_cosine: dict[str, float] = field(default_factory=dict)
    cold_start_s: dict[str, list[float]] = field(default_factory=dict)
    # Share of one core while it is asked nothing.
    idle_cpu: dict[str, float] = field(default_factory=dict)
    memory: dict[str, Memory] = field(default_factory=dict)
    ceiling_gflops: dict[str, list[float]] = field(default_factory=dict)
    # Single phrases alone, and while one large request runs: p99 in ms, by server and round.
    alone_p99_ms: dict[str, list[float]] = field(default_factory=dict)
    beside_large_p99_ms: dict[str, list[float]] = field(default_factory=dict)
    # What broke, by entrant: it is out from there on.
    failures: dict[str, str] = field(default_factory=dict)

    # The rounds that each entrant should have in each scenario.
    rounds: int = 0

    def complete(self, scenario: str, entrant: str) -> bool:
        """Whether an entrant has a window in every round of a scenario."""
        return bool(self.rounds) and len(self.windows(scenario, entrant)) == self.rounds

    def scenarios(self) -> list[str]:
        """The scenarios in the order in which they were run."""
        return list(dict.fromkeys(row.scenario for row in self.rows))

    def windows(self, scenario: str, entrant: str) -> list[Window]:
        """An entrant's windows in a scenario, by round; empty where it took no part."""
        return [
            row.window for row in self.rows if row.scenario == scenario and row.entrant == entrant
        ]
