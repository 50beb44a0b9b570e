"""The chip's ceiling: the rate of a matrix product that does nothing else, in each precision.

Each product runs in whichever of the service's own runtimes is quicker at it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto, TensorProto, helper, numpy_helper

from models.precision import Precision
from service.encoding.session import Device, Wish, look

# Larger than the products of an encoder, so that nothing but arithmetic counts.
SIZE = 1_536

Product = Callable[[], Any]


def products(size: int, threads: int) -> dict[Precision, Product]:
    """A product of two square matrices, in each precision that this chip multiplies in."""
    rng = np.random.default_rng(0)
    one, other = rng.random((2, size, size), np.float32)
    small, signed = (one * 255).astype(np.uint8), (other * 127).astype(np.int8)
    table = {
        Precision.FLOAT32: _in_onnxruntime("MatMul", one, other, TensorProto.FLOAT, threads),
        Precision.INT8: _in_onnxruntime("MatMulInteger", small, signed, TensorProto.INT32, threads),
    }
    if look(Wish(device=Device.CPU)).bfloat16:
        table[Precision.BFLOAT16] = _in_bfloat16(one, other, threads)
    return table


def gflops(product: Product, size: int, seconds: float) -> float:
    """10⁹ multiplications and additions a second, over `seconds` after one to warm up."""
    product()
    started, count = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - started) < seconds or not count:
        product()
        count += 1
    return 2 * size**3 * count / elapsed / 1e9


def _in_onnxruntime(
    operator: str, one: np.ndarray[Any, Any], other: np.ndarray[Any, Any], result: int, threads: int
) -> Product:
    """One product as a graph whose second matrix is constant, as a model's weights are."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        _graph(operator, one, other, result).SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
    )
    return lambda: session.run(None, {"one": one})[0]


def _in_bfloat16(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any], threads: int) -> Product:
    """The same in OpenVINO, which rounds both matrices and adds up in float32."""
    import openvino as ov
    from openvino import opset13 as ops

    data = ops.parameter(one.shape, np.float32, name="one")
    model = ov.Model([ops.matmul(data, ops.constant(other), False, False)], [data], "product")
    config = {"INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": threads}
    request = ov.Core().compile_model(model, "CPU", config).create_infer_request()
    return lambda: request.infer([one], share_inputs=True, share_outputs=True)[0]


def _graph(
    operator: str, one: np.ndarray[Any, Any], other: np.ndarray[Any, Any], result: int
) -> ModelProto:
    kind = helper.np_dtype_to_tensor_dtype(one.dtype)
    graph = helper.make_graph(
        [helper.make_node(operator, ["one", "other"], ["product"])],
        "product",
        [helper.make_tensor_value_info("one", kind, one.shape)],
        [helper.make_tensor_value_info("product", result, one.shape)],
        [numpy_helper.from_array(other, "other")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
