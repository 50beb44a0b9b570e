"""The benchmarks of the edge compare what they say they compare."""

from __future__ import annotations

import asyncio
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from benchmarks.cold_start import measure
from benchmarks.edges import TEXTS, _encoded, _many, blockers, longest_wait_s, readers, writers
from benchmarks.http_servers import CLIENTS, SERVERS, _loads
from benchmarks.quantization import neighbours, read_pairs
from benchmarks.shared_weights import as_float32, write
from models.bundle import Bundle
from tests.tiny_bundle import round_weights
from training.half_weights import store_in_half


def test_every_reader_finds_the_texts() -> None:
    for texts in (TEXTS["1 phrase"], TEXTS["32 sentences"]):
        for name, read in readers(json.dumps({"inputs": texts}).encode()).items():
            assert read().inputs == texts, name  # type: ignore[attr-defined]


def test_every_writer_writes_the_vectors() -> None:
    encoded = _encoded(3)
    for name, write_answer in writers(encoded).items():
        content = write_answer()
        assert isinstance(content, bytes | str)
        if name.endswith(("arrays", "lists")):
            rows = [item["embedding"] for item in json.loads(content)["data"]]
            np.testing.assert_array_equal(np.array(rows, np.float32), encoded.vectors)


def test_a_framework_that_fails_is_not_timed() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        await send({"type": "http.response.start", "status": 500, "headers": []})

    with pytest.raises(RuntimeError, match="answered 500"):
        asyncio.run(_many(broken))


def test_the_wait_of_others_is_found() -> None:
    async def work() -> None:
        # On purpose: a blocked loop is what is measured.
        import time

        time.sleep(0.05)

    assert asyncio.run(longest_wait_s(work)) >= 0.05
    assert any("in turns" in name for name in blockers())


def _run(path: Path) -> NDArray[np.float32]:
    feed = {
        "input_ids": np.array([[5, 9, 7], [30, 4, 0]]),
        "attention_mask": np.array([[1, 1, 1], [1, 1, 0]]),
        "adapter_ids": np.array([0, 2]),
    }
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    vectors: NDArray[np.float32] = session.run(["embedding"], feed)[0]
    return vectors


@pytest.mark.parametrize("external", [False, True])
def test_all_forms_of_a_graph_give_the_same(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, external: bool
) -> None:
    monkeypatch.setattr("benchmarks.shared_weights._EXTERNAL_BYTES", 64)
    monkeypatch.setattr("training.half_weights._HALF_MIN_ELEMENTS", 2)
    halved = onnx.load(str(tiny_bundle.graph()))
    round_weights(halved)
    store_in_half(halved)
    before = halved.SerializeToString()
    vectors = []
    for name, form in (("halved", halved), ("full", as_float32(halved))):
        onnx.checker.check_model(form)
        (tmp_path / name).mkdir()
        vectors.append(_run(write(form, tmp_path / name, external=external)))
        assert (len(list((tmp_path / name).iterdir())) == 2) == external
    np.testing.assert_array_equal(vectors[1], vectors[0])
    assert halved.SerializeToString() == before  # the other form is a copy


def test_a_cold_start_is_measured_with_all_its_processes(tiny_bundle: Bundle) -> None:
    start = measure(tiny_bundle.path, 2)
    assert 0 < start.listening_s <= start.first_answer_s
    # Two workers and their supervisor hold more than one Python with numpy does.
    assert start.memory_mb > 60
    assert start.loaded_memory_mb > 60


def test_a_server_is_loaded_and_its_cost_counted() -> None:
    loads = _loads(next(iter(SERVERS.values())), 0.3)
    assert set(loads) == set(CLIENTS)
    for load in loads.values():
        assert load.rate > 0
        assert 0 < load.cpu_us < 1e6


def test_neighbours_are_those_of_brute_force() -> None:
    rng = np.random.default_rng(3)
    sources, targets = (rng.normal(size=(n, 6)).astype(np.float32) for n in (7, 30))
    found = neighbours(sources, targets)
    for source, row in zip(sources, found, strict=True):
        scores = [float(source @ target) for target in targets]
        assert row.tolist() == sorted(range(30), key=lambda n: -scores[n])[:10]


def test_pairs_are_drawn_from_every_language_in_turn(tmp_path: Path) -> None:
    rows = ["source\tgranularity\tid\tlang_a\tlang_b\ttext_a\ttext_b"]
    rows += [f"t\tsentence\t{n}\ten\tde\ten{n}\tde{n}" for n in range(5)]
    rows += ['t\tsentence\t9\ten\tfr\ten9\t"fr9']
    path = tmp_path / "pairs.tsv.xz"
    path.write_bytes(lzma.compress("\n".join(rows).encode()))
    assert read_pairs(path, 3) == [("en0", "de0"), ("en9", '"fr9'), ("en1", "de1")]
