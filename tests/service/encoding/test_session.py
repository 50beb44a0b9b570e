from __future__ import annotations

import ctypes
import dataclasses
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from models.bundle import DEFAULT_BUNDLE, Bundle, BundleError
from models.precision import Precision
from service.encoding.session import Choice, Device, Runtime, Session, Wish, available_cores, look
from service.encoding.session.on_onnxruntime import OnnxDeviceGraph
from service.encoding.session.on_openvino import OpenVinoGraph
from service.encoding.session.session import _load
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


MACHINE = look(Wish(device=Device.CPU))


@pytest.fixture(params=[Runtime.ONNXRUNTIME, Runtime.OPENVINO])
def wish(request: pytest.FixtureRequest) -> Wish:
    """float32 on the CPU in each runtime that is installed."""
    if request.param not in MACHINE.runtimes:
        pytest.skip(f"{request.param} is not installed")
    return Wish(request.param, Precision.FLOAT32, Device.CPU)


def test_vectors_and_states_are_those_of_the_oracle(tiny_bundle: Bundle, wish: Wish) -> None:
    session = Session.open(tiny_bundle, 1, wish)
    embedding, tokens = session.embed_with_tokens(_LONG_SHORT)
    for index, (ids, row) in enumerate([([2, 5, 6, 7, 3], 2), ([2, 9, 3], 0)]):
        states = expected_tokens(ids, row)
        np.testing.assert_allclose(tokens[index, : len(ids)], states, atol=1e-5)
        mean = states.mean(axis=0)
        np.testing.assert_allclose(embedding[index], mean / np.linalg.norm(mean), atol=1e-6)
    np.testing.assert_array_equal(session.embed(_LONG_SHORT), embedding)
    assert tokens.shape == (2, 5, DIMENSION)
    assert embedding.dtype == tokens.dtype == np.float32


@pytest.mark.parametrize("row", [-1, 4])
def test_an_adapter_row_out_of_range_never_reaches_the_graph(
    tiny_bundle: Bundle, wish: Wish, row: int
) -> None:
    batch = dataclasses.replace(_LONG_SHORT, adapter_ids=np.array([0, row], np.int64))
    with pytest.raises(InferenceFailed, match="not all within 0 to 3"):
        Session.open(tiny_bundle, 1, wish).embed(batch)


@pytest.mark.parametrize("token", [-1, len(VOCABULARY)])
def test_a_token_outside_the_vocabulary_never_reaches_the_graph(
    tiny_bundle: Bundle, wish: Wish, token: int
) -> None:
    ids = _LONG_SHORT.input_ids.copy()
    ids[1, 4] = token
    with pytest.raises(InferenceFailed, match=f"not all within 0 to {len(VOCABULARY) - 1}"):
        Session.open(tiny_bundle, 1, wish).embed(dataclasses.replace(_LONG_SHORT, input_ids=ids))


def test_whatever_the_runtime_raises_is_one_error(tiny_bundle: Bundle, wish: Wish) -> None:
    session = Session.open(tiny_bundle, 1, wish)
    with pytest.raises(InferenceFailed, match="the model failed: ") as caught:
        session.embed(dataclasses.replace(_LONG_SHORT, adapter_ids=np.array([[0], [1]])))
    session.embed(_LONG_SHORT)  # and the next batch is not affected
    assert "\n" not in caught.value.message


def test_a_number_that_is_not_finite_is_a_failure(tmp_path: Path, wish: Wish) -> None:
    model = onnx.load_from_string(tiny_graph())
    table = next(t for t in model.graph.initializer if t.name == "table")
    broken = WEIGHTS["table"].copy()
    broken[5, 0] = np.nan
    table.CopyFrom(numpy_helper.from_array(broken, "table"))
    bundle = write_tiny_bundle(tmp_path / "b", graph=model.SerializeToString())
    session = Session.open(bundle, 1, wish)
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
        (_fix_batch, r"input input_ids is int64\[1, any\]; the format asks for int64\[any, any\]"),
        (_drop_tokens, "its outputs are embedding; the format asks for embedding, tokens"),
        (_double_precision, r"output embedding is float64"),
        (_short_stack, r"adapter paragraph: the model failed|holds 3 rows, and up to 4 are"),
        (_few_positions, r"adapter paragraph: the model failed|holds 31 rows, and up to 32 are"),
        (_other_states, "embedding is not the normalised mean of tokens"),
    ],
)
def test_a_graph_that_breaks_the_contract_is_refused_in_one_line(
    tmp_path: Path, wish: Wish, change: Callable[[onnx.ModelProto], None], message: str
) -> None:
    model = onnx.load_from_string(tiny_graph())
    change(model)
    bundle = write_tiny_bundle(tmp_path / "b", graph=model.SerializeToString())
    with pytest.raises(BundleError, match=message) as caught:
        Session.open(bundle, 1, wish)
    assert "\n" not in str(caught.value)
    assert "encoder.onnx" in str(caught.value)


def test_a_dimension_other_than_the_manifests_is_refused(tmp_path: Path, wish: Wish) -> None:
    bundle = write_tiny_bundle(tmp_path / "b", dimension=DIMENSION + 1)
    with pytest.raises(BundleError, match=r"embedding is float32\[any, 8\]"):
        Session.open(bundle, 1, wish)


def test_a_file_that_is_no_graph_is_refused_in_one_line(tmp_path: Path, wish: Wish) -> None:
    bundle = write_tiny_bundle(tmp_path / "b", graph=b"not a graph")
    with pytest.raises(BundleError, match=r"encoder\.onnx cannot be loaded") as caught:
        Session.open(bundle, 1, wish)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rows", [1, 9])
def test_padding_for_the_runtime_changes_nothing(
    tiny_bundle: Bundle, wish: Wish, rows: int
) -> None:
    session = Session.open(tiny_bundle, 1, wish)
    rng = np.random.default_rng(0)
    for tokens in (1, 7, 8, 9, 31, 32):
        ids = rng.integers(1, len(VOCABULARY), (rows, tokens))
        adapters = np.arange(3, 3 + rows) % 4
        embedding, states = session.embed_with_tokens(Batch(ids, np.ones_like(ids), adapters))
        assert embedding.shape == (rows, DIMENSION)
        assert states.shape == (rows, tokens, DIMENSION)
        for index, adapter in enumerate(adapters.tolist()):
            expected = expected_tokens(ids[index].tolist(), adapter)
            np.testing.assert_allclose(states[index], expected, atol=1e-4)
            mean = expected.mean(axis=0)
            np.testing.assert_allclose(embedding[index], mean / np.linalg.norm(mean), atol=1e-5)


def test_a_session_beside_another_gives_the_same_vectors(tiny_bundle: Bundle, wish: Wish) -> None:
    session = Session.open(tiny_bundle, 2, wish)
    beside = session.beside()
    assert beside is not None
    assert beside.choice == session.choice
    with ThreadPoolExecutor(2) as pool:
        for one, other in [
            (pool.submit(session.embed, _LONG_SHORT), pool.submit(beside.embed, _LONG_SHORT))
            for _ in range(20)
        ]:
            np.testing.assert_allclose(one.result(), other.result(), atol=1e-6)


@pytest.mark.skipif(sys.platform != "linux", reason="stacks as Linux has them")
def test_a_thread_keeps_its_stack_for_signals(tiny_bundle: Bundle, wish: Wish) -> None:
    """OpenVINO frees the one that it registers, and the next signal would end the process."""
    libc = ctypes.CDLL(None)

    def registered() -> bytes:
        stack = ctypes.create_string_buffer(64)
        assert libc.sigaltstack(None, stack) == 0
        return stack.raw

    def opened() -> tuple[bytes, bytes]:
        before = registered()
        Session.open(tiny_bundle, 1, wish).beside()
        return before, registered()

    with ThreadPoolExecutor(1) as pool:
        before, after = pool.submit(opened).result()
    assert after == before


@given(st.integers(1, 5_000), st.integers(1, 5_000))
def test_shapes_for_openvino_are_few_and_little_larger(rows: int, tokens: int) -> None:
    graph = OpenVinoGraph.__new__(OpenVinoGraph)  # what is asked needs no model
    more_rows, more_tokens = graph.roomy(rows, tokens)
    assert graph.roomy(more_rows, more_tokens) == (more_rows, more_tokens)
    assert rows <= more_rows <= 1.25 * rows
    assert tokens <= more_tokens < max(tokens + 2, 1.25 * tokens + 1)
    assert more_tokens % 2 == 0
    # At most four sizes between one power of two and the next.
    assert len({graph.roomy(size, 1)[0] for size in range(1, 1_025)}) == 4 * 9


def test_threads_that_embed_at_once_get_their_own_vectors(tiny_bundle: Bundle, wish: Wish) -> None:
    session = Session.open(tiny_bundle, 1, wish)
    batches = [
        Batch(np.full((1, 5), token), np.ones((1, 5), np.int64), np.array([0], np.int64))
        for token in range(4, 12)
    ]
    alone = [session.embed(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for one, other in zip(pool.map(session.embed, batches), alone, strict=True):
                np.testing.assert_allclose(one, other, atol=1e-6)


def test_the_next_batch_leaves_earlier_vectors_alone(tiny_bundle: Bundle, wish: Wish) -> None:
    session = Session.open(tiny_bundle, 1, wish)
    first, states = session.embed_with_tokens(_LONG_SHORT)
    kept, kept_states = first.copy(), states.copy()
    session.embed_with_tokens(dataclasses.replace(_LONG_SHORT, adapter_ids=np.array([1, 3])))
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(states, kept_states)


def test_bfloat16_is_the_same_graph_rounded(tiny_bundle: Bundle) -> None:
    if not MACHINE.bfloat16:
        pytest.skip("no OpenVINO, or no instructions for bfloat16")
    exact = Session.open(tiny_bundle, 1, Wish(precision=Precision.FLOAT32)).embed(_LONG_SHORT)
    session = Session.open(tiny_bundle, 1, Wish(precision=Precision.BFLOAT16))
    rounded = session.embed(_LONG_SHORT)
    assert session.choice.precision is Precision.BFLOAT16
    np.testing.assert_allclose(np.linalg.norm(rounded, axis=1), 1, atol=1e-2)
    assert (rounded * exact).sum(axis=1).min() > 0.999
    assert np.abs(rounded - exact).max() > 1e-6


def test_the_shipped_bundle_is_the_same_in_every_runtime() -> None:
    missing = {Runtime.ONNXRUNTIME, Runtime.OPENVINO} - MACHINE.runtimes
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed")
    bundle = Bundle.open(DEFAULT_BUNDLE)
    rng = np.random.default_rng(1)
    ids = rng.integers(5, bundle.manifest.vocabulary_size, (3, 40))
    mask = (np.arange(40) < np.array([[40], [23], [3]])).astype(np.int64)
    batch = Batch(ids, mask, np.array([0, 1, 2], np.int64))
    vectors = {
        runtime: Session.open(bundle, 1, Wish(runtime, Precision.FLOAT32)).embed(batch)
        for runtime in sorted(MACHINE.runtimes)
    }
    np.testing.assert_allclose(vectors[Runtime.OPENVINO], vectors[Runtime.ONNXRUNTIME], atol=1e-5)


def test_kept_buffers_give_what_the_plain_run_gives(tiny_bundle: Bundle) -> None:
    """The path of the GPU, on the CPU: binding, kept buffers, padding to a multiple."""
    plain = Session.open(tiny_bundle, 1, Wish(Runtime.ONNXRUNTIME, device=Device.CPU))
    path = str(tiny_bundle.graph())
    raw = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    graph = OnnxDeviceGraph(raw, "cpu")
    bound = Session(graph, tiny_bundle, plain.choice)
    assert bound.beside() is None  # a device runs one batch at a time
    rng = np.random.default_rng(0)
    for rows, tokens in ((1, 3), (2, 5), (1, 3), (4, 8), (2, 5), (3, 17)):
        ids = rng.integers(4, len(VOCABULARY), (rows, tokens))
        batch = Batch(ids, np.ones_like(ids), np.arange(rows) % 4)
        np.testing.assert_allclose(bound.embed(batch), plain.embed(batch), atol=1e-6)
        for one, other in zip(
            bound.embed_with_tokens(batch), plain.embed_with_tokens(batch), strict=True
        ):
            np.testing.assert_allclose(one, other, atol=1e-6)
    for rows in range(1, 400):
        graph._buffer("embedding", (rows, 8), np.float32)
    assert len(graph._buffers) <= 256


def test_a_gpu_that_does_not_start_is_never_replaced_by_the_cpu(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime itself warns, and computes on the CPU."""
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda path, options, providers: real(path, options, providers=["CPUExecutionProvider"]),
    )
    for runtime, name in (
        (Runtime.ONNXRUNTIME, "CUDAExecutionProvider did not start"),
        (Runtime.TENSORRT, "TensorrtExecutionProvider, CUDAExecutionProvider did not start"),
    ):
        choice = Choice(Device.CUDA, runtime, Precision.FLOAT32)
        with pytest.raises(RuntimeError, match=name):
            _load(tiny_bundle, choice, available_cores())
