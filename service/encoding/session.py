"""ONNX Runtime behind one narrow class."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models.bundle import Bundle, BundleError, Precision
from service.encoding.tokenizer import Batch
from service.errors import InferenceFailed

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Port:
    """An input or output of the graph as the bundle format fixes it; None: any size."""

    name: str
    type: str
    shape: tuple[int | None, ...]


class Session:
    """The model: one graph that serves all adapters, checked against its manifest."""

    def __init__(
        self, session: onnxruntime.InferenceSession, dimension: int, adapter_count: int
    ) -> None:
        self._session = session
        self._dimension = dimension
        self._adapter_count = adapter_count

    @classmethod
    def open(cls, bundle: Bundle, threads: int | None = None) -> Session:
        """Load the graph of `bundle` and run every adapter once.

        `threads` is how many cores one batch may use; None means every core this process may run
        on. Raises BundleError where the graph is not what the manifest promises.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or available_cores()
        options.inter_op_num_threads = 1
        # Spinning threads would take the cores from tokenising and HTTP between two batches.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        graph = bundle.graph(Precision.FLOAT32)
        where = f"bundle {bundle.path}: {graph.name}"
        try:
            raw = onnxruntime.InferenceSession(
                str(graph), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime has no common base class for its errors
            raise BundleError(f"{where} cannot be loaded: {_one_line(error)}") from None
        dimension = bundle.manifest.dimension
        _check_ports(raw, dimension, where)
        session = cls(raw, dimension, len(bundle.manifest.adapters))
        session._warm_up(bundle, where)
        return session

    def embed(self, batch: Batch) -> Vectors:
        """Unit vectors, (batch, dimension), of the rows in their order.

        Raises InferenceFailed, whatever went wrong.
        """
        (embedding,) = self._run(batch, ["embedding"])
        self._check(embedding, (len(batch.input_ids), self._dimension))
        return embedding

    def embed_with_tokens(self, batch: Batch) -> tuple[Vectors, Vectors]:
        """Unit vectors, (batch, dimension), and token states, (batch, tokens, dimension).

        States of padding mean nothing. Raises InferenceFailed, whatever went wrong.
        """
        embedding, tokens = self._run(batch, ["embedding", "tokens"])
        self._check(embedding, (len(batch.input_ids), self._dimension))
        self._check(tokens, (*batch.input_ids.shape, self._dimension))
        return embedding, tokens

    def _run(self, batch: Batch, outputs: list[str]) -> list[Vectors]:
        # A negative index would count from the end in Gather and give a wrong vector in silence.
        if batch.adapter_ids.min() < 0 or batch.adapter_ids.max() >= self._adapter_count:
            raise InferenceFailed(
                f"adapter rows {batch.adapter_ids.tolist()[:8]} are not all within "
                f"0 to {self._adapter_count - 1}"
            )
        feed = {
            "input_ids": batch.input_ids,
            "attention_mask": batch.attention_mask,
            "adapter_ids": batch.adapter_ids,
        }
        try:
            results: list[Vectors] = self._session.run(outputs, feed)
        except Exception as error:  # the runtime has no common base class for its errors
            raise InferenceFailed(f"the model failed: {_one_line(error)}") from error
        return results

    def _check(self, result: Vectors, shape: tuple[int, ...]) -> None:
        if result.shape != shape or result.dtype != np.float32:
            raise InferenceFailed(
                f"the model gave {result.dtype}{list(result.shape)} instead of float32{list(shape)}"
            )
        if not np.isfinite(result).all():
            raise InferenceFailed("the model gave a number that is not finite")

    def _warm_up(self, bundle: Bundle, where: str) -> None:
        """Every adapter once at its full length, so that the first request is quick.

        It also finds what the ports do not tell: a stack with too few adapters, a model with too
        few positions, and states whose mean is not the vector, which `normalize: false` relies on.
        """
        manifest = bundle.manifest
        # No padding token: models that count positions leave those out.
        token = (manifest.tokenizer.pad_token_id + 1) % manifest.vocabulary_size
        for adapter in manifest.adapters:
            ids = np.full((1, adapter.max_tokens), token, np.int64)
            batch = Batch(ids, np.ones_like(ids), np.array([adapter.row], np.int64))
            try:
                embedding, states = self.embed_with_tokens(batch)
            except InferenceFailed as error:
                raise BundleError(f"{where}: adapter {adapter.name}: {error.message}") from None
            mean = states[0].mean(axis=0)
            if not np.allclose(mean / np.linalg.norm(mean), embedding[0], atol=1e-3):
                raise BundleError(
                    f"{where}: adapter {adapter.name}: embedding is not the normalised mean of "
                    "tokens, as pooling promises"
                )


def _check_ports(session: onnxruntime.InferenceSession, dimension: int, where: str) -> None:
    inputs = [
        _Port("input_ids", "tensor(int64)", (None, None)),
        _Port("attention_mask", "tensor(int64)", (None, None)),
        _Port("adapter_ids", "tensor(int64)", (None,)),
    ]
    outputs = [
        _Port("embedding", "tensor(float)", (None, dimension)),
        _Port("tokens", "tensor(float)", (None, None, dimension)),
    ]
    _check_side("input", inputs, session.get_inputs(), where)
    _check_side("output", outputs, session.get_outputs(), where)


def _check_side(kind: str, wanted: list[_Port], found: list[Any], where: str) -> None:
    by_name = {port.name: port for port in found}
    if set(by_name) != {port.name for port in wanted}:
        raise BundleError(
            f"{where}: its {kind}s are {', '.join(sorted(by_name))}; "
            f"the format asks for {', '.join(port.name for port in wanted)}"
        )
    for port in wanted:
        other = by_name[port.name]
        # A size is a number where the graph fixes it and a name (or None) where it does not.
        fits = len(other.shape) == len(port.shape) and all(
            not isinstance(size, int) or size == must
            for size, must in zip(other.shape, port.shape, strict=True)
        )
        if other.type != port.type or not fits:
            sizes = ["any" if size is None else size for size in port.shape]
            raise BundleError(
                f"{where}: {kind} {port.name} is {other.type}{other.shape}; "
                f"the format asks for {port.type}{sizes}"
            )


def available_cores() -> int:
    """How many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
