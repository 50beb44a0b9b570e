"""How much of a graph's weights several processes share, by how the file holds them.

    python -m benchmarks.shared_weights [--bundle FOLDER] [--processes N]

writes the bundle's graph in several forms to a temporary folder, opens each in N processes at
once, and prints the load time, a process's resident memory and its proportional set size (PSS:
a page that k processes map counts 1/k), above what a process has before it opens the graph. All
forms must give the same vector to the last bit.

- `as shipped`: the bundle's own files.
- `one file`: the same, the weights inside the graph's file.
- `float32`: every weight as float32.
- `external`: the same with large weights in a file of their own, which the runtime maps.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import onnx

from benchmarks.usage import bytes_of
from models.bundle import DEFAULT_BUNDLE, Bundle
from training.half_weights import store_in_single

# Smaller weights stay in the graph's own file.
_EXTERNAL_BYTES = 1 << 20

# Opens the graph, runs it, says so, and holds it until its input ends.
_PROCESS = """
import json, sys, time
import numpy as np
import onnxruntime
from benchmarks.shared_weights import memory_mb

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.log_severity_level = 3
before = memory_mb()
started = time.perf_counter()
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
load_s = time.perf_counter() - started
ids = np.arange(1, 65, dtype=np.int64)[None] * 7 % int(sys.argv[2])
feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "adapter_ids": np.zeros(1, int)}
vector = session.run(["embedding"], feed)[0]
print("open", flush=True)
sys.stdin.readline()  # until all are open
after = memory_mb()
own = {key: after[key] - before[key] for key in after}
print(json.dumps({"load_s": load_s, "vector": vector.tobytes().hex(), **own}), flush=True)
sys.stdin.readline()  # until all have measured
"""


@click.command(context_settings={"show_default": True})
@click.option("--bundle", type=click.Path(path_type=Path), default=DEFAULT_BUNDLE)
@click.option("--processes", type=click.IntRange(min=1), default=2)
def main(bundle: Path, processes: int) -> None:
    """Open every form in some processes, and print what they share."""
    opened = Bundle.open(bundle)
    graph = onnx.load(str(opened.graph()))
    full = as_float32(graph)
    click.echo(f"{opened.manifest.name} {opened.manifest.version}, {processes} processes\n")
    click.echo("| form | file, MB | load, s | resident, MB | PSS, MB | the same vector |")
    click.echo("|---|---|---|---|---|---|")
    shipped = ""
    for name, form, external in (
        ("as shipped", None, False),
        ("one file", graph, False),
        ("float32", full, False),
        ("float32, external", full, True),
    ):
        with tempfile.TemporaryDirectory() as folder:
            if form is None:
                path = opened.graph()
                files = [path, *(opened.file(each) for each in external_files(path))]
            else:
                path = write(form, Path(folder), external=external)
                files = list(Path(folder).iterdir())
            size_mb = sum(file.stat().st_size for file in files) / 2**20
            said = _open_in_processes(path, processes, opened.manifest.vocabulary_size)
        shipped = shipped or said[0]["vector"]
        same = all(each["vector"] == shipped for each in said)
        load, rss, pss = (
            statistics.median(each[key] for each in said) for key in ("load_s", "Rss", "Pss")
        )
        click.echo(
            f"| {name} | {size_mb:.0f} | {load:.2f} | {rss:.0f} | {pss:.0f} | "
            f"{'yes' if same else 'NO'} |"
        )


def _open_in_processes(path: Path, count: int, vocabulary: int) -> list[dict[str, Any]]:
    command = [sys.executable, "-c", _PROCESS, str(path), str(vocabulary)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    said: list[dict[str, Any]] = []
    for step in ("open", "measure"):
        for process in processes:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"a process that opened {path.name} ended; its reason is above")
            if step == "measure":
                said.append(json.loads(line))
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
    for process in processes:
        process.communicate()
    return said


def memory_mb() -> dict[str, float]:
    """Resident and proportional memory of this process."""
    return {key: bytes_of("self", "smaps_rollup", key) / 2**20 for key in ("Rss", "Pss")}


def write(graph: onnx.ModelProto, folder: Path, *, external: bool) -> Path:
    """Write `graph` to a file in `folder`, large weights beside it where `external`."""
    path = folder / "encoder.onnx"
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)  # saving external data takes it out of the graph
    onnx.save(
        copy,
        str(path),
        save_as_external_data=external,
        location="encoder.weights",
        size_threshold=_EXTERNAL_BYTES,
    )
    return path


def as_float32(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every weight that is stored as float16 is stored as float32."""
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    store_in_single(copy)
    return copy


def external_files(graph: Path) -> set[str]:
    """The names of the files beside `graph` that hold weights of it."""
    model = onnx.load(str(graph), load_external_data=False)
    return {
        entry.value
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }


if __name__ == "__main__":
    main()
