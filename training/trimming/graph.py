"""Cut the embedding table of an ONNX graph to some of its rows.

The table is found by its use: whatever a Gather indexes with the token ids of `input_ids`. So no
name is relied on, and a graph with several tables (a factorised embedding, a weight for each
token) has all of them cut alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from training.errors import TrainingError
from training.trimming.tokenizer import TokenIds

# Operations whose output holds the values of their first input, perhaps in another shape.
_SAME_VALUES = frozenset({"Cast", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze"})
# Between a stored table and its Gather; rows stay rows.
_SAME_ROWS = frozenset({"Cast", "Identity"})
_NO_VALUES = frozenset({"Shape", "Size"})


@dataclass(frozen=True, slots=True)
class Tables:
    """Where a graph looks tokens up, and what else reads the values of its token ids."""

    names: tuple[str, ...]  # of the initializers that hold the tables
    # Operations beside the look-up that depend on token ids, such as a comparison with padding.
    readers: tuple[str, ...]


def find_tables(model: onnx.ModelProto, vocabulary_size: int) -> Tables:
    """Follow `input_ids` to the tables of token embeddings.

    Raises TrainingError where there is none, where a table is not stored whole with a row for
    each token, or where something beside the look-up uses it.
    """
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    producers = {name: node for node in model.graph.node for name in node.output}
    tables: dict[str, None] = {}
    reached: set[str] = set()  # every name between a table and its Gather, the table too
    looked_up: set[str] = set()  # what the nodes on that way are known by, their output
    readers: list[str] = []
    for node, position in _users_of_ids(model.graph):
        if node.op_type in _NO_VALUES:
            continue
        if node.op_type != "Gather" or position != 1:
            readers.append(node.op_type)
            continue
        name = node.input[0]
        looked_up.add(node.output[0])
        reached.add(name)
        while name not in stored:
            producer = producers.get(name)
            if producer is None or producer.op_type not in _SAME_ROWS:
                kind = "an input" if producer is None else f"the result of {producer.op_type}"
                raise TrainingError(
                    f"the graph looks tokens up in {kind}; only a stored table, as it is or "
                    "through Cast, can be cut"
                )
            looked_up.add(producer.output[0])
            name = producer.input[0]
            reached.add(name)
        _check_table(stored[name], node, vocabulary_size)
        tables[name] = None
    if not tables:
        raise TrainingError("the graph looks no tokens up: no Gather is indexed by input_ids")
    for node in _all_nodes(model.graph):
        if looked_up.isdisjoint(node.output) and (shared := reached.intersection(node.input)):
            raise TrainingError(
                f"the table {min(shared)!r} also serves {node.op_type}; it cannot be cut"
            )
    return Tables(tuple(tables), tuple(readers))


def cut_tables(model: onnx.ModelProto, tables: Tables, old_ids: TokenIds) -> None:
    """Leave in each table the rows `old_ids`, in that order, in place; values keep their type and
    every bit."""
    for tensor in model.graph.initializer:
        if tensor.name in tables.names:
            rows = np.ascontiguousarray(numpy_helper.to_array(tensor)[old_ids])
            tensor.CopyFrom(numpy_helper.from_array(rows, tensor.name))
    for value in model.graph.input:  # where a stored table is also an input that may replace it
        if value.name in tables.names:
            value.type.tensor_type.shape.dim[0].dim_value = len(old_ids)
    # Shapes noted between the table and its Gather would be wrong now; the runtime infers them.
    del model.graph.value_info[:]


def _check_table(table: onnx.TensorProto, gather: onnx.NodeProto, vocabulary_size: int) -> None:
    axis = next((each.i for each in gather.attribute if each.name == "axis"), 0)
    if axis != 0:
        raise TrainingError(f"the graph looks tokens up along axis {axis}; a table has them on 0")
    if table.dims[0] < vocabulary_size:
        raise TrainingError(
            f"the table {table.name!r} has {table.dims[0]} rows for {vocabulary_size} tokens; "
            "the graph and the tokenizer do not belong together"
        )


def _users_of_ids(graph: onnx.GraphProto) -> Iterator[tuple[onnx.NodeProto, int]]:
    """Every node that takes the token ids as its nth input, however they were reshaped."""
    names = {"input_ids"}
    for node in graph.node:  # sorted: what a node takes was made before it
        for position, name in enumerate(node.input):
            if name in names:
                if node.op_type in _SAME_VALUES and position == 0:
                    names.update(node.output)
                else:
                    yield node, position


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of the branches and loops in it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _all_nodes(inner)
