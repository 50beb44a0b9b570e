"""The commands: what is set up, what is refused, and a run from end to end."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from click.testing import CliRunner, Result
from tokenizers import Tokenizer
from transformers import AutoModel

from benchmarks import texts
from benchmarks.ceiling import gflops, products
from benchmarks.serve import environments, weights
from benchmarks.serve.__main__ import main, variant
from models.bundle import Bundle
from models.precision import Precision
from service.encoding.encoder import Encoder, Options, Unit
from service.encoding.session import Device, Wish, look
from service.encoding.tokenizer import LongText
from tests.tiny_training import bert_folder

__all__ = ["bert_folder"]


def _invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.fixture(scope="module")
def made(bert_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a random BERT, in all three forms."""
    folder = tmp_path_factory.mktemp("made")
    source = folder / "source"
    shutil.copytree(bert_folder, source)
    (source / "sentence_bert_config.json").write_text('{"max_seq_length": 8}')
    weights.make(source, folder / "weights")
    return folder / "weights"


def test_all_forms_of_the_weights_compute_the_same(made: Path, bert_folder: Path) -> None:
    encoder = Encoder.open(made / "bundle", threads=1)
    (adapter,) = encoder.manifest.adapters
    assert (adapter.name, adapter.max_tokens) == ("none", 8)
    text = "red green stone"
    ours = encoder.encode([Unit(text, "text")]).vectors[0]

    ids = np.array([Tokenizer.from_file(str(made / "onnx" / "tokenizer.json")).encode(text).ids])
    assert ids.shape == (1, 5)
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    session = onnxruntime.InferenceSession(made / "onnx" / "model.onnx")
    (states,) = session.run(None, {**feed, "token_type_ids": np.zeros_like(ids)})
    mean = states[0].mean(axis=0)
    np.testing.assert_allclose(ours, mean / np.linalg.norm(mean), atol=1e-5)

    model = AutoModel.from_pretrained(made / "torch").eval()
    with torch.no_grad():
        reference = model(torch.from_numpy(ids)).last_hidden_state.numpy()
    np.testing.assert_allclose(states, reference, atol=1e-5)


def test_all_forms_of_the_weights_say_the_same_limit_of_tokens(made: Path) -> None:
    for form in ("torch", "onnx"):
        config = json.loads((made / form / "tokenizer_config.json").read_text())
        assert config["model_max_length"] == 8
    # What infinity's optimum engine goes by; torch needs the true number to load its table.
    assert json.loads((made / "onnx" / "config.json").read_text())["max_position_embeddings"] == 8
    assert json.loads((made / "torch" / "config.json").read_text())["max_position_embeddings"] == 64
    assert not list((made / "onnx").glob("*.safetensors"))
    encoder = Encoder.open(made / "bundle", threads=1)
    unit = Unit("red green stone river letter house bridge garden", "text")
    (fact,) = encoder.encode([unit], Options(LongText.TRUNCATE)).facts
    assert (fact.tokens, fact.truncated) == (8, True)


def test_environments_are_made_once_and_torch_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []

    def run(command: list[str | Path], *, check: bool) -> None:
        assert check
        ran.append(list(map(str, command)))
        (tmp_path / "infinity").mkdir(exist_ok=True)

    monkeypatch.setattr(subprocess, "run", run)
    for _ in range(2):
        environments.make(["infinity"], tmp_path)
    venv, torch_alone, rest = ran
    assert venv[1:] == ["-m", "venv", str(tmp_path / "infinity")]
    assert torch_alone[-1] == "torch==2.13.0"
    assert rest[-1].endswith("infinity.txt")
    assert {command[0] for command in (torch_alone, rest)} == {
        str(tmp_path / "infinity" / "bin" / "python")
    }


def test_an_environment_that_pip_could_not_fill_is_filled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = iter([True, False])

    def run(command: list[str | Path], *, check: bool) -> None:
        (tmp_path / "fastembed").mkdir(exist_ok=True)
        if "-r" in command and next(tries):
            raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(subprocess.CalledProcessError):
        environments.make(["fastembed"], tmp_path)
    environments.make(["fastembed"], tmp_path)
    assert next(tries, None) is None


def test_every_requirement_is_pinned() -> None:
    for name in environments.ENVIRONMENTS:
        lines = (environments.PEERS / f"{name}.txt").read_text().splitlines()
        assert all("==" in line for line in lines if not line.startswith("#"))


def test_setup_wants_a_model_when_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "make", lambda names, into: None)
    result = _invoke("setup", "--into", tmp_path)
    assert result.exit_code == 2
    assert "name a model with --weights FOLDER" in result.output
    result = _invoke("setup", "--peers", "tei", "--into", tmp_path)
    assert "tei unknown; use fastembed, infinity, sentence-transformers or all" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--peers", "fastembed"), "fastembed is not set up"),
        (("--peers", "none", "--shapes", "8by32"), "'8by32' is no shape; give CLIENTSxTEXTS"),
        (("--peers", "none", "--kinds", "poem"), "'poem' is not a valid Kind"),
        (("--peers", "none", "--variant", "int8"), "--variant is 'int8'; give NAME:POLYGRAIN_X=Y"),
    ],
)
def test_a_run_that_cannot_be_is_refused_in_words(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = _invoke("run", "--from", tmp_path, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_a_run_measures_every_entrant_and_reports(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our server and our engine, for want of peers."""
    monkeypatch.setattr(texts, "words_of", lambda file: ["cat", "dog", "mat", "red", "chat"])
    monkeypatch.setattr("benchmarks.serve.run._CEILING_S", 0.01)
    # Several threads wait for each other where other programs keep the cores busy.
    monkeypatch.setenv("POLYGRAIN_THREADS", "1")
    shutil.copytree(tiny_bundle.path, tmp_path / "home" / "weights" / "bundle")
    result = _invoke(
        *("run", "--peers", "none", "--skip-own", "--from", tmp_path / "home"),
        *("--out", tmp_path / "out", "--kinds", "phrase", "--shapes", "2x3", "--rates", "50"),
        *("--rounds", "2", "--seconds", "0.2", "--warm", "0.1", "--beside-large", "none"),
        *("--encodings", "base64"),
    )
    assert result.exit_code == 0, result.output
    raw = json.loads((tmp_path / "out" / "results.json").read_text())
    (found,) = raw["results"]
    assert found["failures"] == {}
    closed, opened = "phrase, 2 clients × 3 texts", "phrase, 50 requests/s × 1 text"
    served, bare = "polygrain, base64", "polygrain, no HTTP"
    # The second round goes the other way round; the engine alone has no open loop.
    assert [(row["scenario"], row["entrant"], row["round"]) for row in found["rows"]] == [
        (closed, served, 0),
        (closed, bare, 0),
        (closed, bare, 1),
        (closed, served, 1),
        (opened, served, 0),
        (opened, served, 1),
    ]
    for row in found["rows"]:
        assert row["window"]["failed"] == 0
        assert row["window"]["samples"] > 0
        assert row["window"]["texts_per_s"] > 0
    assert found["lowest_cosine"]["polygrain"] == pytest.approx(1, abs=1e-5)
    assert found["memory"]["polygrain"]["peak_resident"] > 10_000_000
    assert len(found["cold_start_s"]["polygrain"]) == 2
    assert len(found["ceiling_gflops"]["int8"]) == 4
    report = (tmp_path / "out" / "report.md").read_text()
    assert report.strip() == result.stdout.strip()
    assert f"### {closed}" in report
    assert f"| {served} | {closed}: texts/s | {bare} |" in report


def test_a_variant_is_our_server_with_other_settings() -> None:
    given = "int8:POLYGRAIN_PRECISION=int8,POLYGRAIN_THREADS=1"
    name, settings = variant(given)
    assert name == "polygrain int8"
    assert settings == {"POLYGRAIN_PRECISION": "int8", "POLYGRAIN_THREADS": "1"}


def test_products_are_counted_as_two_operations_for_each_of_n_cubed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a clock that only products move: a quarter of a second each."""
    clock = 0.0

    def product() -> None:
        nonlocal clock
        clock += 0.25

    monkeypatch.setattr("benchmarks.ceiling.time.perf_counter", lambda: clock)
    # The first is to warm up; four fill the second.
    assert gflops(product, 1_000, 1.0) == pytest.approx(2 * 4)


def test_products_are_of_the_precision_that_they_are_named_for() -> None:
    table = products(16, 1)
    rng = np.random.default_rng(0)
    one, other = rng.random((2, 16, 16), np.float32)
    np.testing.assert_allclose(table[Precision.FLOAT32](), one @ other, rtol=1e-5)
    expected = (one * 255).astype(np.uint8).astype(int) @ (other * 127).astype(np.int8).astype(int)
    np.testing.assert_array_equal(table[Precision.INT8](), expected)


@pytest.mark.skipif(
    not look(Wish(device=Device.CPU)).bfloat16, reason="the processor does not multiply bfloat16"
)
def test_the_product_in_bfloat16_rounds_what_it_multiplies() -> None:
    product = products(16, 1)[Precision.BFLOAT16]()
    rng = np.random.default_rng(0)
    one, other = torch.from_numpy(rng.random((2, 16, 16), np.float32)).bfloat16().double()
    np.testing.assert_allclose(product, (one @ other).numpy(), rtol=1e-5)
