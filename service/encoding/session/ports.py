"""What a loaded graph is to the rest: ports that the bundle format fixes, and one way to run it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.bundle import BundleError
from service.encoding.tokenizer import Batch

Vectors = NDArray[np.float32]

EMBEDDING, TOKENS = "embedding", "tokens"


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a graph; None in its shape: any size."""

    name: str
    type: str  # as numpy names it
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        sizes = ", ".join("any" if size is None else str(size) for size in self.shape)
        return f"{self.type}[{sizes}]"


class LoadedGraph(Protocol):
    """A graph in a runtime. `run` may be called from several threads at once."""

    inputs: list[Port]
    outputs: list[Port]

    def roomy(self, rows: int, tokens: int) -> tuple[int, int]:
        """The shape to pad a batch of `rows` x `tokens` to, which is never smaller.

        Runtimes that compile for each shape, or keep memory for it, have fewer of them then.
        """

    def beside(self) -> LoadedGraph | None:
        """The same graph, to run batches on one core while this one runs others on all.

        It takes as little memory more as the runtime allows. None on devices, where one batch runs
        at a time.
        """

    def run(self, batch: Batch, outputs: Sequence[str]) -> list[Vectors]:
        """The named outputs for a batch, in arrays of their own; raises whatever goes wrong."""


def feed_of(batch: Batch) -> dict[str, NDArray[np.int64]]:
    """A batch by the names that the format gives its parts."""
    return {
        "input_ids": batch.input_ids,
        "attention_mask": batch.attention_mask,
        "adapter_ids": batch.adapter_ids,
    }


def check_ports(graph: LoadedGraph, dimension: int, where: str) -> None:
    """Raise BundleError where the ports of `graph` are not those of the bundle format."""
    inputs = [
        Port("input_ids", "int64", (None, None)),
        Port("attention_mask", "int64", (None, None)),
        Port("adapter_ids", "int64", (None,)),
    ]
    outputs = [
        Port(EMBEDDING, "float32", (None, dimension)),
        Port(TOKENS, "float32", (None, None, dimension)),
    ]
    _check_side("input", inputs, graph.inputs, where)
    _check_side("output", outputs, graph.outputs, where)


def _check_side(kind: str, wanted: list[Port], found: Iterable[Port], where: str) -> None:
    by_name = {port.name: port for port in found}
    if set(by_name) != {port.name for port in wanted}:
        raise BundleError(
            f"{where}: its {kind}s are {', '.join(sorted(by_name))}; "
            f"the format asks for {', '.join(port.name for port in wanted)}"
        )
    for port in wanted:
        other = by_name[port.name]
        fits = len(other.shape) == len(port.shape) and all(
            size is None or size == must for size, must in zip(other.shape, port.shape, strict=True)
        )
        if other.type != port.type or not fits:
            raise BundleError(f"{where}: {kind} {port.name} is {other}; the format asks for {port}")
