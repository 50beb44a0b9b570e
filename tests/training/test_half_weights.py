from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.bundle import Bundle
from tests.tiny_bundle import WEIGHTS, round_weights
from training.half_weights import store_in_half, store_in_single


def test_only_lossless_weights_are_halved_and_the_result_is_the_same() -> None:
    rng = np.random.default_rng(0)
    exact = rng.normal(size=(64, 64)).astype(np.float16).astype(np.float32)
    inexact = rng.normal(size=(64, 64)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "exact"], ["h"]),
            helper.make_node("MatMul", ["h", "inexact"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64])],
        [numpy_helper.from_array(exact, "exact"), numpy_helper.from_array(inexact, "inexact")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    x = {"x": rng.normal(size=(1, 64)).astype(np.float32)}

    def run(model: onnx.ModelProto) -> np.ndarray:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        result: np.ndarray = session.run(None, x)[0]
        return result

    before, size, stored = run(model), model.ByteSize(), model.SerializeToString()
    store_in_half(model)
    np.testing.assert_array_equal(run(model), before)
    kinds = sorted(tensor.data_type for tensor in model.graph.initializer)
    assert kinds == [TensorProto.FLOAT, TensorProto.FLOAT16]
    assert model.ByteSize() < size - 8000
    store_in_single(model)
    assert model.SerializeToString() == stored


def test_a_table_is_looked_up_as_it_is_stored_and_then_cast(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.half_weights._HALF_MIN_ELEMENTS", 2)
    model = onnx.load(str(tiny_bundle.graph()))
    round_weights(model)
    before = model.SerializeToString()
    store_in_half(model)
    halves = {t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT16}
    assert len(halves) == len(WEIGHTS)  # the tokens' vectors and both sides of the adapters
    gathers = {n.input[0]: n.output[0] for n in model.graph.node if n.op_type == "Gather"}
    assert set(gathers) == halves
    casts = {n.input[0] for n in model.graph.node if n.op_type == "Cast"}
    assert casts.isdisjoint(halves)
    assert casts >= set(gathers.values())
    store_in_single(model)
    assert model.SerializeToString() == before
