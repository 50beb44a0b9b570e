from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from training.errors import TrainingError
from training.half_weights import store_in_half
from training.trimming.graph import cut_tables, find_tables

VOCABULARY, WIDTH, PADDING = 300, 8, 1
_TABLE = np.random.default_rng(3).normal(size=(VOCABULARY, WIDTH)).astype(np.float16)
Graph = tuple[list[Any], dict[str, NDArray[Any]]]


def _plain() -> Graph:
    return [helper.make_node("Gather", ["any.name", "input_ids"], ["states"])], {
        "any.name": _TABLE.astype(np.float32)
    }


def _half_after_the_gather() -> Graph:
    nodes = [
        helper.make_node("Gather", ["rows", "input_ids"], ["found"]),
        helper.make_node("Cast", ["found"], ["states"], to=TensorProto.FLOAT),
    ]
    return nodes, {"rows": _TABLE}


def _flattened() -> Graph:
    """Ids through a cast and a reshape, and the shape of the ids for the way back."""
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["narrow"], to=TensorProto.INT32),
        helper.make_node("Reshape", ["narrow", "flat"], ["row"]),
        helper.make_node("Gather", ["rows", "row"], ["found"]),
        helper.make_node("Shape", ["input_ids"], ["shape"]),
        helper.make_node("Concat", ["shape", "width"], ["target"], axis=0),
        helper.make_node("Reshape", ["found", "target"], ["states"]),
    ]
    constants = {"flat": np.array([-1]), "width": np.array([WIDTH])}
    return nodes, {"rows": _TABLE.astype(np.float32), **constants}


def _factorised() -> Graph:
    """A narrow table, projected, times a weight for each token; padding tells by its id."""
    nodes = [
        helper.make_node("Gather", ["narrow", "input_ids"], ["found"]),
        helper.make_node("MatMul", ["found", "projection"], ["wide"]),
        helper.make_node("Gather", ["weights", "input_ids"], ["weight"]),
        helper.make_node("Mul", ["wide", "weight"], ["weighted"]),
        helper.make_node("Equal", ["input_ids", "padding"], ["is_padding"]),
        helper.make_node("Not", ["is_padding"], ["is_text"]),
        helper.make_node("Cast", ["is_text"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["weighted", "column"], ["states"]),
    ]
    table = _TABLE.astype(np.float32)
    constants = {"padding": np.array(PADDING), "last": np.array([-1]), "projection": table[:3]}
    return nodes, {"narrow": table[:, :3].copy(), "weights": table[:, :1].copy(), **constants}


def _model(nodes: list[Any], constants: dict[str, NDArray[Any]]) -> onnx.ModelProto:
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])
    out = helper.make_tensor_value_info("states", TensorProto.FLOAT, ["batch", "tokens", WIDTH])
    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", [ids], [out], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def _run(model: onnx.ModelProto, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (states,) = session.run(None, {"input_ids": ids})
    result: NDArray[np.float32] = states
    return result


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("make", [_plain, _half_after_the_gather, _flattened, _factorised])
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_kept_tokens_have_the_states_that_they_had_to_the_last_bit(
    make: Callable[[], Graph], half: bool, data: st.DataObject
) -> None:
    others = st.lists(st.integers(2, VOCABULARY - 1), min_size=1, max_size=40, unique=True)
    old_ids = np.array([0, PADDING, *data.draw(others)])
    model = _model(*make())
    if half:
        store_in_half(model)
    size = model.ByteSize()
    ids = data.draw(st.lists(st.integers(0, len(old_ids) - 1), min_size=4, max_size=4))
    new = np.array(ids, np.int64).reshape(2, 2)
    before = _run(model, old_ids[new])
    cut_tables(model, find_tables(model, VOCABULARY), old_ids)
    assert model.ByteSize() < size
    assert _run(model, new).tobytes() == before.tobytes()


def test_all_tables_and_all_other_readers_of_ids_are_found() -> None:
    found = find_tables(_model(*_factorised()), VOCABULARY)
    assert found.names == ("narrow", "weights")
    assert found.readers == ("Equal",)
    assert find_tables(_model(*_flattened()), VOCABULARY).readers == ()
    half = _model(*_plain())
    store_in_half(half)
    assert find_tables(half, VOCABULARY).names == ("any.name_float16",)


def test_a_table_that_may_be_replaced_keeps_its_shape_and_rows_beyond_the_vocabulary_go() -> None:
    model = _model(*_plain())
    shape = helper.make_tensor_value_info("any.name", TensorProto.FLOAT, [VOCABULARY, WIDTH])
    model.graph.input.append(shape)
    cut_tables(model, find_tables(model, VOCABULARY - 4), np.array([7, 3]))
    onnx.checker.check_model(model, full_check=True)
    assert _run(model, np.array([[0, 1]]))[0].tolist() == _TABLE[[7, 3]].astype(float).tolist()


def test_graphs_that_cannot_be_cut_are_refused_with_the_reason() -> None:
    node = helper.make_node
    table = {"t": _TABLE.astype(np.float32), "p": np.array([0, 1])}
    gather = node("Gather", ["t", "input_ids"], ["states"])
    refused = {
        "has 300 rows for 301 tokens": ([gather], 301),
        "looks no tokens up": (
            [node("Gather", ["t", "p"], ["x"]), node("Expand", ["x", "s"], ["states"])],
            VOCABULARY,
        ),
        "the result of Mul; only": (
            [node("Mul", ["t", "t"], ["x"]), node("Gather", ["x", "input_ids"], ["states"])],
            VOCABULARY,
        ),
        "'t' also serves Relu": ([gather, node("Relu", ["t"], ["again"])], VOCABULARY),
        "along axis 1": (
            [
                node("Transpose", ["t"], ["u"]),
                node("Gather", ["t", "input_ids"], ["x"], axis=1),
                node("Transpose", ["x"], ["states"], perm=[1, 2, 0]),
            ],
            VOCABULARY,
        ),
    }
    for reason, (nodes, size) in refused.items():
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["b", "t"])],
            [helper.make_tensor_value_info("states", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(value, name) for name, value in table.items()],
        )
        with pytest.raises(TrainingError, match=reason):
            find_tables(helper.make_model(graph), size)
