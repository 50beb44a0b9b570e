"""A bundle with faster precisions: made, measured, written, and served."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from models.bundle import Bundle, TokenLayer
from models.precision import Precision
from service.encoding.session import Device, Runtime, Session, Wish, look
from service.encoding.tokenizer import Batch
from tests.tiny_bundle import TOKEN_LAYER, WORDS, write_tiny_bundle
from tests.tiny_training import write_table
from training.cli import cli
from training.corpora.rows import Row
from training.errors import TrainingError
from training.precisions.command import Options, add_precisions
from training.precisions.graphs import write_float16
from training.precisions.texts import draw

BATCH = Batch(
    np.array([[2, 5, 6, 7, 3], [2, 9, 3, 0, 0]], np.int64),
    np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], np.int64),
    np.array([2, 0], np.int64),
)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty entities, each said in three languages and three granularities."""
    rng = np.random.default_rng(0)
    rows = [
        Row(str(number), "made", "CC0", granularity, language, " ".join(rng.choice(WORDS, count)))
        for number in range(60)
        for granularity, count in (("phrase", 2), ("sentence", 6), ("paragraph", 12))
        for language in ("en", "fr", "de")
    ]
    return write_table(tmp_path_factory.mktemp("table") / "corpus.parquet", rows)


@pytest.fixture(scope="module")
def added(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny bundle with every precision that this machine can measure."""
    parent = write_tiny_bundle(tmp_path_factory.mktemp("parent") / "tiny", token_layer=TOKEN_LAYER)
    machine = look(Wish(device=Device.CPU))
    precisions = [Precision.INT8, Precision.FLOAT16]
    precisions += [Precision.BFLOAT16] if machine.bfloat16 else []
    out = tmp_path_factory.mktemp("added") / "tiny"
    options = Options(tuple(precisions), "0.2.0", 40, 60, threads=1)
    lines: list[str] = []
    add_precisions(parent.path, table, out, options, lines.append)
    assert [line.split()[0] for line in lines] == precisions
    return Bundle.open(out)


def test_the_new_bundle_says_what_was_measured(tiny_bundle: Bundle, added: Bundle) -> None:
    manifest = added.manifest
    assert manifest.version == "0.2.0"
    assert set(manifest.graphs) == {Precision.FLOAT32, Precision.INT8, Precision.FLOAT16}
    assert manifest.graphs[Precision.INT8] == "encoder.int8.xml"
    assert set(manifest.files) - set(tiny_bundle.manifest.files) == {
        *("encoder.int8.xml", "encoder.int8.bin", "encoder.float16.onnx"),
    }
    for name, record in tiny_bundle.manifest.files.items():
        assert manifest.files[name] == record
    for fidelity in manifest.fidelity.values():
        assert 0.9 < fidelity.worst_cosine <= fidelity.mean_cosine < 1.001
        assert fidelity.texts == 60
        assert fidelity.source == "corpus.parquet, 3 languages, not calibrated on"
        assert fidelity.runtime.split()[0] in (Runtime.OPENVINO, Runtime.ONNXRUNTIME)
    assert manifest.token_layer == TokenLayer.model_validate(TOKEN_LAYER)
    assert manifest.provenance["made_by"] == "tests"
    assert manifest.provenance["precisions"]["added_to"]["version"] == "0.1.0"


def test_int8_is_served_and_near_float32(added: Bundle) -> None:
    if not look(Wish(device=Device.CPU)).int8:
        pytest.skip("the processor has no instructions for int8")
    exact = Session.open(added, 1, Wish(precision=Precision.FLOAT32, device=Device.CPU))
    session = Session.open(added, 1, Wish(precision=Precision.INT8))
    cosines = (session.embed(BATCH) * exact.embed(BATCH)).sum(axis=1)
    assert 0.95 < cosines.min() < cosines.max() < 1 - 1e-7


def test_calibrated_and_measured_texts_share_no_entity(tiny_bundle: Bundle, table: Path) -> None:
    calibration, measured = draw(table, tiny_bundle, 40, 60)
    assert (len(calibration), len(measured)) == (40, 60)
    assert not {t.alignment_id for t in calibration} & {t.alignment_id for t in measured}
    for side in (calibration, measured):
        assert {text.language for text in side} == {"en", "fr", "de"}
        counts = np.bincount([text.adapter_row for text in side])
        assert len(counts[counts > 0]) == 3
        assert counts[counts > 0].min() >= len(side) // 6
    limits = {a.row: a.max_tokens for a in tiny_bundle.manifest.adapters}
    assert all(len(text.ids) <= limits[text.adapter_row] for text in measured)


def test_the_draw_is_the_same_again(tiny_bundle: Bundle, table: Path) -> None:
    assert draw(table, tiny_bundle, 10, 20) == draw(table, tiny_bundle, 10, 20)
    assert draw(table, tiny_bundle, 10, 20) != draw(table, tiny_bundle, 10, 20, seed=1)


def test_a_weight_beyond_float16_is_refused(tiny_bundle: Bundle, tmp_path: Path) -> None:
    model = onnx.load(str(tiny_bundle.graph()))
    for tensor in model.graph.initializer:
        if tensor.name == "up":
            values = np.full(tuple(tensor.dims), 1e6, np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, "up"))
    onnx.save(model, str(tmp_path / "g.onnx"))
    with pytest.raises(TrainingError, match=r"up holds 1e\+06, beyond float16"):
        write_float16(tmp_path / "g.onnx", tmp_path / "half.onnx")


def test_a_bundle_that_exists_is_never_written_over(tiny_bundle: Bundle, table: Path) -> None:
    options = Options((Precision.INT8,), "0.2.0")
    with pytest.raises(FileExistsError, match="choose another folder"):
        add_precisions(tiny_bundle.path, table, tiny_bundle.path, options, print)


def test_a_table_in_other_languages_is_refused(table: Path, tmp_path: Path) -> None:
    other = write_tiny_bundle(tmp_path / "b", languages=("sw",))
    with pytest.raises(TrainingError, match="has 0 texts to calibrate on and 0 to measure on"):
        add_precisions(
            other.path, table, tmp_path / "out", Options((Precision.INT8,), "1.0.0"), print
        )


@pytest.mark.parametrize("value", ["", "float32", "int4,int8"])
def test_the_command_names_the_precisions_there_are(
    tiny_bundle: Bundle, table: Path, tmp_path: Path, value: str
) -> None:
    arguments = ["quantize", "--bundle", str(tiny_bundle.path), "--corpus", str(table)]
    arguments += ["--out", str(tmp_path / "o"), "--version", "1.0.0", "--precisions", value]
    result = CliRunner().invoke(cli, arguments)
    assert isinstance(result.exception, TrainingError)
    assert str(result.exception).endswith("use some of bfloat16, int8, float16")


def test_without_openvino_the_command_says_what_to_install(
    tiny_bundle: Bundle, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.quantize_cli.find_spec", lambda name: None)
    arguments = ["quantize", "--bundle", str(tiny_bundle.path), "--corpus", str(table)]
    result = CliRunner().invoke(
        cli, [*arguments, "--out", str(tmp_path / "o"), "--version", "1.0.0"]
    )
    assert isinstance(result.exception, TrainingError)
    assert "quantize needs openvino: pip install -e '.[cpu,training]'" in str(result.exception)
