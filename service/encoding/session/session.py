"""The model behind one narrow class: every runtime is held to the same checks here."""

from __future__ import annotations

import logging
import time

import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle, BundleError
from models.precision import Precision
from service.encoding.session.choice import Choice, Device, Runtime, Wish, choose
from service.encoding.session.machine import available_cores, look
from service.encoding.session.ports import (
    EMBEDDING,
    TOKENS,
    LoadedGraph,
    Vectors,
    check_ports,
)
from service.encoding.tokenizer import Batch
from service.errors import InferenceFailed

logger = logging.getLogger(__name__)

# How far the vector may be from the normalised mean of the token states, at warm-up.
_POOLING_TOLERANCE = {Precision.FLOAT32: 1e-3}
_ROUNDED_POOLING_TOLERANCE = 1e-2

# Rows of the largest batch that TensorRT builds its engine for.
_ENGINE_ROWS = 256


class Session:
    """The model: one graph that serves all adapters, checked against its manifest."""

    def __init__(self, graph: LoadedGraph, bundle: Bundle, choice: Choice) -> None:
        manifest = bundle.manifest
        self.choice = choice
        self._graph = graph
        self._bundle = bundle
        self._dimension = manifest.dimension
        self._adapter_count = len(manifest.adapters)
        self._vocabulary_size = manifest.vocabulary_size
        self._pad_id = manifest.tokenizer.pad_token_id
        self._longest = _longest(bundle)

    @classmethod
    def open(cls, bundle: Bundle, threads: int | None = None, wish: Wish | None = None) -> Session:
        """Load a graph of `bundle` the way `wish` asks for, and run every adapter once.

        `threads` is how many cores one batch may use; None means every core this process may run
        on. Raises BundleError where the graph is not what the manifest promises, SettingsError
        where what was asked for cannot run here.
        """
        wish = wish or Wish()
        choice = choose(wish, look(wish), bundle.manifest)
        started = time.perf_counter()
        path = bundle.graph(choice.precision)
        where = f"bundle {bundle.path}: {path.name}"
        try:
            graph = _load(bundle, choice, threads or available_cores())
        except Exception as error:  # the runtimes have no common base class for their errors
            raise BundleError(f"{where} cannot be loaded: {_one_line(error)}") from None
        check_ports(graph, bundle.manifest.dimension, where)
        session = cls(graph, bundle, choice)
        session._warm_up(bundle, where)
        logger.info(
            "model_opened runtime=%s precision=%s device=%s seconds=%.2f",
            *(choice.runtime, choice.precision, choice.device, time.perf_counter() - started),
        )
        return session

    def beside(self) -> Session | None:
        """The same model, to run short batches while this one runs long ones; None on a device.

        Raises whatever the runtime raises.
        """
        graph = self._graph.beside()
        return None if graph is None else Session(graph, self._bundle, self.choice)

    def embed(self, batch: Batch) -> Vectors:
        """Unit vectors, (batch, dimension), of the rows in their order.

        Raises InferenceFailed, whatever went wrong.
        """
        (embedding,) = self._run(batch, [EMBEDDING])
        self._check(embedding, (len(batch.input_ids), self._dimension))
        return embedding

    def embed_with_tokens(self, batch: Batch) -> tuple[Vectors, Vectors]:
        """Unit vectors, (batch, dimension), and token states, (batch, tokens, dimension).

        States of padding mean nothing. Raises InferenceFailed, whatever went wrong.
        """
        embedding, tokens = self._run(batch, [EMBEDDING, TOKENS])
        self._check(embedding, (len(batch.input_ids), self._dimension))
        tokens = tokens[:, : batch.input_ids.shape[1]]  # without those that `_padded` added
        self._check(tokens, (*batch.input_ids.shape, self._dimension))
        return embedding, tokens

    def _run(self, batch: Batch, outputs: list[str]) -> list[Vectors]:
        # An index that a table does not have is a wrong vector in silence: ONNX counts a negative
        # one from the end, and OpenVINO reads zeros behind it.
        _check_range("adapter rows", batch.adapter_ids, self._adapter_count)
        _check_range("token ids", batch.input_ids, self._vocabulary_size)
        try:
            results = self._graph.run(self._padded(batch), outputs)
        except Exception as error:  # the runtimes have no common base class for their errors
            raise InferenceFailed(f"the model failed: {_one_line(error)}") from error
        return [result[: len(batch.input_ids)] for result in results]

    def _padded(self, batch: Batch) -> Batch:
        """The batch in the shape that the runtime likes, within the model's positions."""
        shape = rows, tokens = batch.input_ids.shape
        roomy_rows, roomy_tokens = self._graph.roomy(rows, tokens)
        roomy_tokens = max(tokens, min(roomy_tokens, self._longest))
        if (roomy_rows, roomy_tokens) == shape:
            return batch
        input_ids = np.full((roomy_rows, roomy_tokens), self._pad_id, np.int64)
        mask = np.zeros_like(input_ids)
        input_ids[:rows, :tokens], mask[:rows, :tokens] = batch.input_ids, batch.attention_mask
        # A row without a token has no mean: what is added repeats the first.
        input_ids[rows:], mask[rows:] = input_ids[0], mask[0]
        adapter_ids = np.full(roomy_rows, batch.adapter_ids[0])
        adapter_ids[:rows] = batch.adapter_ids
        return Batch(input_ids, mask, adapter_ids)

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
        tolerance = _POOLING_TOLERANCE.get(self.choice.precision, _ROUNDED_POOLING_TOLERANCE)
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
            if not np.allclose(mean / np.linalg.norm(mean), embedding[0], atol=tolerance):
                raise BundleError(
                    f"{where}: adapter {adapter.name}: embedding is not the normalised mean of "
                    "tokens, as pooling promises"
                )


def _load(bundle: Bundle, choice: Choice, threads: int) -> LoadedGraph:
    """The graph in the runtime of `choice`, imported here so that no other one is."""
    path = bundle.graph(choice.precision)
    longest = _longest(bundle)
    if choice.runtime is Runtime.OPENVINO:
        from service.encoding.session.on_openvino import OpenVinoGraph

        manifest = bundle.manifest
        limits = {"input_ids": manifest.vocabulary_size, "adapter_ids": len(manifest.adapters)}
        return OpenVinoGraph.open(path, choice.precision, threads, limits, longest)
    from service.encoding.session.on_onnxruntime import OnnxCpuGraph, OnnxDeviceGraph

    if choice.device is Device.CPU:
        return OnnxCpuGraph.open(path, threads)
    return OnnxDeviceGraph.open(path, choice.runtime, _ENGINE_ROWS, longest)


def _longest(bundle: Bundle) -> int:
    return max(adapter.max_tokens for adapter in bundle.manifest.adapters)


def _check_range(what: str, ids: NDArray[np.int64], count: int) -> None:
    if ids.size and (ids.min() < 0 or ids.max() >= count):
        raise InferenceFailed(
            f"{what} {ids.ravel().tolist()[:8]} are not all within 0 to {count - 1}"
        )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
