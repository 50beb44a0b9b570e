"""Graphs of other arithmetics, made from the float32 one."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino
from onnx import TensorProto, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from training.errors import TrainingError
from training.half_weights import store_in_single

Feed = Mapping[str, np.ndarray[Any, np.dtype[np.int64]]]

# Where float16 would run out of range or digits: sums over tokens, positions and norms.
_KEPT_IN_FLOAT32 = (
    *("Range", "CumSum", "Cos", "Sin", "Pow", "Sqrt", "ReduceSum", "ReduceMean", "ReduceL2"),
    *("LpNormalization", "Clip", "Min", "Max", "Softmax", "LayerNormalization", "Div"),
)


def write_int8(
    graph: Path, target: Path, calibration: Sequence[Feed], keep: Sequence[str] = ()
) -> None:
    """Write an int8 OpenVINO graph to `target` (.xml; its weights beside it, .bin).

    NNCF's post-training quantisation with SmoothQuant (Xiao et al. 2022), per-channel weights and
    bias correction, calibrated on `calibration`. The embedding table stays as it is stored, and so
    does whatever has a name that a regular expression of `keep` finds. Raises TrainingError where
    NNCF refuses the graph.
    """
    os.environ.setdefault("NNCF_CI", "1")  # or it would report its use to its makers
    import nncf

    nncf.set_log_level(logging.WARNING)
    model = openvino.Core().read_model(graph)
    names = [
        node.get_friendly_name()
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Gather" and _reads_ids(node)
    ]
    scope = nncf.IgnoredScope(names=names, patterns=list(keep), validate=False)
    try:
        quantized = nncf.quantize(
            model,
            nncf.Dataset(list(calibration)),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(calibration),
            ignored_scope=scope,
        )
    except (RuntimeError, nncf.ValidationError) as error:
        raise TrainingError(f"{graph} cannot be quantised: {error}") from None
    openvino.save_model(quantized, target, compress_to_fp16=False)


def write_float16(graph: Path, target: Path) -> None:
    """Write `graph` to `target` with its matrix products in float16, for GPUs.

    Inputs and outputs keep their types; norms, softmax and sums over tokens stay float32. Raises
    TrainingError where a weight is too large for float16.
    """
    model = onnx.load(str(graph))
    store_in_single(model)
    for tensor in model.graph.initializer:
        # A single number is no weight but what hides padding, and may be cut to the largest.
        if tensor.data_type == TensorProto.FLOAT and tensor.dims:
            largest = float(np.abs(numpy_helper.to_array(tensor)).max(initial=0))
            if largest > float(np.finfo(np.float16).max):
                raise TrainingError(f"{graph}: {tensor.name} holds {largest:.3g}, beyond float16")
    half = convert_float_to_float16(model, keep_io_types=True, op_block_list=list(_KEPT_IN_FLOAT32))
    onnx.save(half, str(target))


def _reads_ids(node: Any) -> bool:  # noqa: ANN401
    """Whether a Gather takes token ids as its index."""
    return any(each.get_friendly_name() == "input_ids" for each in _origins(node.input_value(1)))


def _origins(output: Any) -> Iterator[Any]:  # noqa: ANN401
    node = output.get_node()
    while node.get_type_name() in ("Convert", "Unsqueeze", "Squeeze", "Reshape"):
        node = node.input_value(0).get_node()
    yield node
