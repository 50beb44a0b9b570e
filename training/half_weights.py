"""Weights of a graph stored as float16 where that loses nothing, and as float32 again."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Smaller tensors are not worth a Cast node each.
_HALF_MIN_ELEMENTS = 1024


def store_in_half(model: onnx.ModelProto) -> None:
    """Store every large float32 weight that float16 holds exactly as float16 and a Cast, in place.

    The runtime folds the Cast of a weight at load; a table that is only looked up is cast behind
    the look-up, row by row, so that it can stay as it is stored. What is computed does not change
    by a bit.
    """
    graph = model.graph
    casts = []
    lookups = _lookups(graph)
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if values.size < _HALF_MIN_ELEMENTS or not np.array_equal(half.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_float16"))
        if name not in lookups:
            casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
        for gather in lookups.get(name, ()):
            gather.input[0] = tensor.name
    nodes = [*casts]
    stored = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for node in graph.node:
        nodes.append(node)
        if node.op_type == "Gather" and stored.get(node.input[0]) == TensorProto.FLOAT16:
            found = node.output[0]
            node.output[0] = f"{found}_float16"
            nodes.append(helper.make_node("Cast", [node.output[0]], [found], to=TensorProto.FLOAT))
    del graph.node[:]
    graph.node.extend(nodes)
    # Types noted behind a look-up would be wrong now; the runtime infers them.
    del graph.value_info[:]


def store_in_single(model: onnx.ModelProto) -> None:
    """Undo `store_in_half` in place: weights as float32 again, their Casts gone."""
    graph = model.graph
    halves = {
        each.name: each for each in graph.initializer if each.data_type == TensorProto.FLOAT16
    }
    # What a float16 weight, or what was looked up in one, is called as float32.
    single: dict[str, str] = {}
    kept = []
    looked_up: set[str] = set()
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0] in (*halves, *looked_up):
            single[node.input[0]] = node.output[0]
            continue
        if node.op_type == "Gather" and node.input[0] in halves:
            looked_up.add(node.output[0])
            single[node.input[0]] = node.input[0].removesuffix("_float16")
        kept.append(node)
    for node in kept:
        for names in (node.input, node.output):
            names[:] = [single.get(name, name) for name in names]
    for name, tensor in halves.items():
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, single.get(name, name)))
    del graph.node[:]
    graph.node.extend(kept)


def _lookups(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """By the name of each weight that nothing but a Gather reads: the Gathers that read it."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return {
        name: nodes
        for name, nodes in readers.items()
        if all(node.op_type == "Gather" and node.input[0] == name for node in nodes)
    }
