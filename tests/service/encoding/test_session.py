from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.bundle import Bundle, BundleError
from service.encoding.session import Session
from service.encoding.tokenizer import Batch
from service.errors import InferenceFailed
from tests.tiny_bundle import (
    DIMENSION,
    VOCABULARY,
    WEIGHTS,
    expected_tokens,
    tiny_graph,
    write_tiny_bundle,
)

_LONG_SHORT = Batch(
    np.array([[2, 5, 6, 7, 3], [2, 9, 3, 0, 0]], np.int64),
    np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], np.int64),
    np.array([2, 0], np.int64),
)


def test_vectors_and_states_are_those_of_the_oracle(tiny_bundle: Bundle) -> None:
    embedding, tokens = Session.open(tiny_bundle, 1).embed_with_tokens(_LONG_SHORT)
    for index, (ids, row) in enumerate([([2, 5, 6, 7, 3], 2), ([2, 9, 3], 0)]):
        states = expected_tokens(ids, row)
        np.testing.assert_allclose(tokens[index, : len(ids)], states, atol=1e-5)
        mean = states.mean(axis=0)
        np.testing.assert_allclose(embedding[index], mean / np.linalg.norm(mean), atol=1e-6)
    np.testing.assert_array_equal(Session.open(tiny_bundle, 1).embed(_LONG_SHORT), embedding)
    assert embedding.dtype == tokens.dtype == np.float32


@pytest.mark.parametrize("row", [-1, 4])
def test_an_adapter_row_out_of_range_never_reaches_the_graph(tiny_bundle: Bundle, row: int) -> None:
    batch = dataclasses.replace(_LONG_SHORT, adapter_ids=np.array([0, row], np.int64))
    with pytest.raises(InferenceFailed, match="not all within 0 to 3"):
        Session.open(tiny_bundle, 1).embed(batch)


def test_whatever_the_runtime_raises_is_one_error(tiny_bundle: Bundle) -> None:
    ids = np.full_like(_LONG_SHORT.input_ids, len(VOCABULARY))
    with pytest.raises(InferenceFailed, match="the model failed: ") as caught:
        Session.open(tiny_bundle, 1).embed(dataclasses.replace(_LONG_SHORT, input_ids=ids))
    assert "\n" not in caught.value.message


def test_a_number_that_is_not_finite_is_a_failure(tmp_path: Path) -> None:
    model = onnx.load_from_string(tiny_graph())
    table = next(t for t in model.graph.initializer if t.name == "table")
    broken = WEIGHTS["table"].copy()
    broken[5, 0] = np.nan
    table.CopyFrom(numpy_helper.from_array(broken, "table"))
    session = Session.open(write_tiny_bundle(tmp_path / "b", graph=model.SerializeToString()), 1)
    fine = dataclasses.replace(_LONG_SHORT, input_ids=np.full((2, 5), 6, np.int64))
    session.embed(fine)
    with pytest.raises(InferenceFailed, match="not finite"):
        session.embed(_LONG_SHORT)


def _rename_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "ids"
    model.graph.node[0].input[1] = "ids"


def _add_input(model: onnx.ModelProto) -> None:
    extra = helper.make_tensor_value_info("token_type_ids", TensorProto.INT64, ["batch"])
    model.graph.input.append(extra)


def _fix_batch(model: onnx.ModelProto) -> None:
    for port in [*model.graph.input, *model.graph.output]:
        port.type.tensor_type.shape.dim[0].dim_value = 1


def _drop_tokens(model: onnx.ModelProto) -> None:
    del model.graph.output[1]


def _double_precision(model: onnx.ModelProto) -> None:
    model.graph.node[-1].output[0] = "single"
    cast = helper.make_node("Cast", ["single"], ["embedding"], to=TensorProto.DOUBLE)
    model.graph.node.append(cast)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def _short_stack(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        if tensor.name in ("down", "up"):
            tensor.CopyFrom(numpy_helper.from_array(WEIGHTS[tensor.name][:3], tensor.name))


def _few_positions(model: onnx.ModelProto) -> None:
    """Add a weight for each of 31 positions to x; the longest adapter takes 32."""
    positions = np.zeros((1, 31, 1), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(positions, "positions"))
    model.graph.node[0].output[0] = "table_rows"
    new = [
        helper.make_node("Shape", ["input_ids"], ["length"], start=1, end=2),
        helper.make_node("Squeeze", ["length"], ["count_"]),
        helper.make_node("Range", ["zero_", "count_", "one_"], ["places"]),
        helper.make_node("Gather", ["positions", "places"], ["place_rows"], axis=1),
        helper.make_node("Add", ["table_rows", "place_rows"], ["x"]),
    ]
    for name, value in (("zero_", 0), ("one_", 1)):
        scalar = numpy_helper.from_array(np.array(value, np.int64), name)
        model.graph.initializer.append(scalar)
    nodes = [model.graph.node[0], *new, *model.graph.node[1:]]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _other_states(model: onnx.ModelProto) -> None:
    """Give the states before the adapter as `tokens`."""
    for node in model.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                names[index] = {"tokens": "adapted", "h": "tokens"}.get(name, name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_rename_input, "its inputs are adapter_ids, attention_mask, ids; the format asks for"),
        (_add_input, "its inputs are adapter_ids, attention_mask, input_ids, token_type_ids"),
        (_fix_batch, r"input input_ids is tensor\(int64\)\[1, 'tokens'\]; the format asks for"),
        (_drop_tokens, "its outputs are embedding; the format asks for embedding, tokens"),
        (_double_precision, r"output embedding is tensor\(double\)"),
        (_short_stack, "adapter paragraph: the model failed"),
        (_few_positions, "adapter paragraph: the model failed"),
        (_other_states, "embedding is not the normalised mean of tokens"),
    ],
)
def test_a_graph_that_breaks_the_contract_is_refused_in_one_line(
    tmp_path: Path, change: Callable[[onnx.ModelProto], None], message: str
) -> None:
    model = onnx.load_from_string(tiny_graph())
    change(model)
    bundle = write_tiny_bundle(tmp_path / "b", graph=model.SerializeToString())
    with pytest.raises(BundleError, match=message) as caught:
        Session.open(bundle, 1)
    assert "\n" not in str(caught.value)
    assert "encoder.onnx" in str(caught.value)


def test_a_dimension_other_than_the_manifests_is_refused(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "b", dimension=DIMENSION + 1)
    with pytest.raises(BundleError, match=r"embedding is tensor\(float\)\['batch', 8\]"):
        Session.open(bundle, 1)


def test_a_file_that_is_no_graph_is_refused_in_one_line(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "b", graph=b"not a graph")
    with pytest.raises(BundleError, match=r"encoder\.onnx cannot be loaded") as caught:
        Session.open(bundle, 1)
    assert "\n" not in str(caught.value)
