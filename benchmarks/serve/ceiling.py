"""The chip's ceiling: the rate of a matrix product that does nothing else, in each precision.

Runs as a `Worker`, so that the runtimes' threads are not in the load generator's process. Each
product is done by the quickest that is installed with the training extra: on AMD processors torch's
own float32 reaches half of ONNX Runtime's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper

from benchmarks.serve.processes import answer_tasks
from service.encoding.session import available_cores

# Larger than the products of an encoder, so that nothing but arithmetic counts.
_SIZE = 1_536

Product = Callable[[], Any]


def products(size: int = _SIZE) -> dict[str, Product]:
    """A product of two square matrices by precision, on all cores."""
    rng = np.random.default_rng(0)
    one, other = rng.random((2, size, size), np.float32)
    torch.set_num_threads(available_cores())
    halves = [torch.from_numpy(matrix).bfloat16() for matrix in (one, other)]
    small, signed = (one * 255).astype(np.uint8), (other * 127).astype(np.int8)
    return {
        "float32": _in_onnxruntime("MatMul", one, other, TensorProto.FLOAT),
        "bfloat16": lambda: torch.mm(*halves),
        "int8": _in_onnxruntime("MatMulInteger", small, signed, TensorProto.INT32),
    }


def gflops(product: Product, size: int, seconds: float) -> float:
    """10⁹ multiplications and additions a second, over `seconds` after one to warm up."""
    product()
    started, count = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - started) < seconds or not count:
        product()
        count += 1
    return 2 * size**3 * count / elapsed / 1e9


def _in_onnxruntime(
    operator: str, one: np.ndarray[Any, Any], other: np.ndarray[Any, Any], result: int
) -> Product:
    """One product as a graph whose second matrix is constant, as a model's weights are."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_cores()
    session = onnxruntime.InferenceSession(
        _graph(operator, one, other, result).SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
    )
    return lambda: session.run(None, {"one": one})


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


def main() -> None:
    """Answer tasks until the input ends."""
    table = products()

    def handle(task: dict[str, Any]) -> dict[str, Any]:
        return {name: gflops(one, _SIZE, task["seconds"]) for name, one in table.items()}

    answer_tasks(handle)


if __name__ == "__main__":
    main()
