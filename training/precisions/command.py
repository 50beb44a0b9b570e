"""Write a bundle anew with faster precisions, and what each of them costs in fidelity."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.bundle import MANIFEST_NAME, Bundle, sha256_of, write
from models.precision import Fidelity, Precision
from training.errors import TrainingError
from training.precisions.fidelity import embed, measure
from training.precisions.graphs import write_float16, write_int8
from training.precisions.running import Runner, on_onnxruntime, on_openvino
from training.precisions.texts import Text, batches, draw

_CALIBRATION_ROWS = 8
_INT8_GRAPH = "encoder.int8.xml"
_FLOAT16_GRAPH = "encoder.float16.onnx"


@dataclass(frozen=True, slots=True)
class Options:
    """What to add to a bundle, and on how much text it is calibrated and measured."""

    precisions: tuple[Precision, ...]
    version: str
    calibration_texts: int = 720
    measured_texts: int = 3_000
    keep: tuple[str, ...] = ()  # regular expressions: what stays float32 in the int8 graph
    threads: int | None = None


def add_precisions(
    parent_path: Path, table: Path, out: Path, options: Options, say: Callable[[str], None]
) -> dict[Precision, Fidelity]:
    """Write to `out` the bundle at `parent_path` with `options.precisions`, each measured.

    `table` is a corpus table, from whose texts of all the bundle's languages and granularities some
    calibrate the int8 graph and others measure every precision. `say` gets a line for each. Raises
    TrainingError where a precision cannot be made or measured here, FileExistsError where `out`
    exists.
    """
    if out.exists():
        raise FileExistsError(f"{out} exists; a bundle is never changed: choose another folder")
    parent = Bundle.open(parent_path)
    pad = parent.manifest.tokenizer.pad_token_id
    calibration, texts = draw(table, parent, options.calibration_texts, options.measured_texts)
    source = f"{table.name}, {len({text.language for text in texts})} languages, not calibrated on"
    reference = embed(on_onnxruntime(parent.graph(), options.threads), texts, pad)
    with tempfile.TemporaryDirectory() as scratch:
        graphs = _make(parent, Path(scratch), calibration, options)
        fidelity = {}
        for precision in options.precisions:
            graph = graphs.get(precision, parent.graph())
            runner = _runner(graph, precision, options.threads)
            fidelity[precision] = measure(runner, reference, texts, pad, source)
            say(as_line(precision, fidelity[precision]))
        _write(parent, out, options, graphs, fidelity)
    return fidelity


def as_line(precision: Precision, fidelity: Fidelity) -> str:
    """What was measured of a precision, for a person to read."""
    verdict = "may be the default" if fidelity.qualifies else "only when asked for"
    return (
        f"{precision} in {fidelity.runtime}: cosine {fidelity.mean_cosine:.5f}, worst "
        f"{fidelity.worst_cosine:.5f}; of ten nearest {fidelity.top10_overlap:.4f}; drift "
        f"{fidelity.batch_drift:.1e} (largest change {fidelity.largest_change:.1e}); "
        f"{fidelity.texts} texts: {verdict}"
    )


def _make(
    parent: Bundle, scratch: Path, calibration: Sequence[Text], options: Options
) -> dict[Precision, Path]:
    graphs = {}
    if Precision.INT8 in options.precisions:
        graphs[Precision.INT8] = scratch / _INT8_GRAPH
        # Of like length, so that what is calibrated on is text and not padding.
        ordered = sorted(calibration, key=lambda text: len(text.ids))
        pad = parent.manifest.tokenizer.pad_token_id
        feeds = list(batches(ordered, _CALIBRATION_ROWS, pad))
        write_int8(parent.graph(), graphs[Precision.INT8], feeds, options.keep)
    if Precision.FLOAT16 in options.precisions:
        graphs[Precision.FLOAT16] = scratch / _FLOAT16_GRAPH
        write_float16(parent.graph(), graphs[Precision.FLOAT16])
    return graphs


def _runner(graph: Path, precision: Precision, threads: int | None) -> Runner:
    if precision is Precision.FLOAT16:
        return on_onnxruntime(graph, threads)
    return on_openvino(graph, precision, threads)


def _write(
    parent: Bundle,
    out: Path,
    options: Options,
    graphs: dict[Precision, Path],
    fidelity: dict[Precision, Fidelity],
) -> None:
    manifest = parent.manifest
    made = dict(graphs.items())
    kept = {name: parent.file(name) for name in manifest.files}
    new = [path for graph in made.values() for path in (graph, graph.with_suffix(".bin"))]
    files = {path.name: path for path in new if path.exists()}
    if taken := sorted(set(files) & set(kept)):
        raise TrainingError(
            f"{parent.path} has {', '.join(taken)} already; start from the bundle without it"
        )
    provenance = {
        **manifest.provenance,
        "precisions": {
            "added_to": {
                "version": manifest.version,
                "manifest_sha256": sha256_of(parent.path / MANIFEST_NAME),
            },
            "calibration_texts": options.calibration_texts,
            "kept_in_float32": list(options.keep),
        },
    }
    values: dict[str, Any] = manifest.model_dump(mode="json", exclude={"format_version", "files"})
    values |= {
        "version": options.version,
        "graphs": {**manifest.graphs, **{precision: path.name for precision, path in made.items()}},
        "fidelity": {**manifest.fidelity, **fidelity},
        "provenance": provenance,
    }
    write(out, values, {**kept, **files})
