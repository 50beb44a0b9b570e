from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from models.bundle import Bundle
from service.alignment.matching import align_one_to_one
from service.cli import main
from service.encoding.encoder import Encoder, Options, Unit
from tests.tiny_bundle import DIMENSION, expected_embedding, write_tiny_bundle

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bundle(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """The tiny bundle as the one that the environment names."""
    monkeypatch.setenv("POLYGRAIN_BUNDLE", str(tiny_bundle.path))
    monkeypatch.setenv("POLYGRAIN_THREADS", "1")
    return tiny_bundle


def _run(*arguments: str | Path, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], input=stdin)


def _one_line(result: Result, code: int) -> str:
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    return result.stderr.strip().splitlines()[-1]


def test_lines_become_json_lines(bundle: Bundle) -> None:
    result = _run("embed", stdin="the cat sat on the mat.\nBig Dog\n")
    assert result.exit_code == 0, result.output
    first, second = map(json.loads, result.stdout.splitlines())
    oracle = expected_embedding("the cat sat on the mat.", "sentence")
    np.testing.assert_allclose(first.pop("embedding"), oracle, atol=1e-6)
    assert first == {
        "line": 1,
        "granularity": "sentence",
        "adapter": "sentence",
        "tokens": 9,
        "truncated": False,
    }
    assert (second["line"], second["adapter"]) == (2, "phrase")


def test_a_file_becomes_an_array(bundle: Bundle, tmp_path: Path) -> None:
    texts = ["the cat", "le chat", "hund \u2028 katze"]
    (tmp_path / "in.txt").write_bytes("\ufeffthe cat\r\nle chat\nhund \u2028 katze".encode())
    result = _run(
        "embed", tmp_path / "in.txt", "--granularity", "sentence", "--out", tmp_path / "x.npy"
    )
    assert result.exit_code == 0, result.output
    vectors = np.load(tmp_path / "x.npy")
    assert (vectors.dtype, vectors.shape) == (np.float32, (3, DIMENSION))
    for text, vector in zip(texts, vectors, strict=True):
        np.testing.assert_allclose(vector, expected_embedding(text, "sentence"), atol=1e-6)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.txt", "x.npy"]


@pytest.mark.parametrize("count", [1_023, 1_024, 1_025, 2_500])
def test_every_line_of_a_large_input_has_its_row(
    bundle: Bundle, tmp_path: Path, count: int
) -> None:
    words = [f"{'abcdefghij'[n % 10]} {'klmnopqrst'[n // 10 % 10]}" for n in range(count)]
    result = _run(
        *("embed", "-", "--adapter", "sentence", "--out", tmp_path / "x.npy"),
        stdin="\n".join(words) + "\n",
    )
    assert result.exit_code == 0, result.output
    vectors = np.load(tmp_path / "x.npy")
    assert vectors.shape == (count, DIMENSION)
    for n in {0, 1, count // 2, count - 2, count - 1}:
        np.testing.assert_allclose(vectors[n], expected_embedding(words[n], "sentence"), atol=1e-6)


def test_no_lines_are_no_rows(bundle: Bundle, tmp_path: Path) -> None:
    assert _run("embed", stdin="").stdout == ""
    assert _run("embed", "--out", tmp_path / "x.npy", stdin="").exit_code == 0
    assert np.load(tmp_path / "x.npy").shape == (0, DIMENSION)


def test_a_blank_line_is_an_error_by_number_or_left_out(bundle: Bundle, tmp_path: Path) -> None:
    stdin = "cat\n\n \t\ndog\n"
    message = _one_line(_run("embed", stdin=stdin), 1)
    assert message == "Error: line 2 is blank; remove it, or give --skip-blank"
    out = tmp_path / "x.npy"
    assert _run("embed", "--out", out, stdin=stdin).exit_code == 1
    assert list(tmp_path.iterdir()) == []
    result = _run("embed", "--skip-blank", stdin=stdin)
    assert [json.loads(line)["line"] for line in result.stdout.splitlines()] == [1, 4]


def test_a_line_that_is_no_text_is_an_error_by_number(bundle: Bundle) -> None:
    assert "line 2 holds a NUL character" in _one_line(_run("embed", stdin="a\nb\0\n"), 1)
    assert "line 2 is not UTF-8 (byte 1)" in _one_line(_run("embed", stdin=b"a\nb\xff\n"), 1)
    long = _run("embed", "--long-text", "error", "--adapter", "phrase", stdin="cat\n" + "cat " * 9)
    assert "line 2 has 11 tokens and adapter phrase takes 8" in _one_line(long, 1)


def test_options_of_embed_reach_the_encoder(bundle: Bundle) -> None:
    stdin = "a b c d e f g h i j\n"
    (cut,) = _run(
        "embed", "--adapter", "phrase", "--long-text", "truncate", stdin=stdin
    ).stdout.splitlines()
    assert (json.loads(cut)["tokens"], json.loads(cut)["truncated"]) == (8, True)
    (raw,) = _run("embed", "--no-normalize", stdin=stdin).stdout.splitlines()
    assert abs(np.linalg.norm(json.loads(raw)["embedding"]) - 1) > 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--adapter", "word"], "'word' is no adapter of the bundle; use one of phrase, sentence,"),
        (["--adapter", "phrase", "--granularity", "phrase"], "exclude each other"),
        (["--out", "x.txt"], "x.txt does not end in .npy"),
        (["--granularity", "word"], "'word' is not one of"),
        (["none.txt"], "No such file"),
    ],
)
def test_wrong_usage_of_embed_is_exit_2(bundle: Bundle, arguments: list[str], message: str) -> None:
    assert message in _one_line(_run("embed", *arguments, stdin="cat\n"), 2)


def test_align_writes_pairs_best_first(bundle: Bundle, tmp_path: Path) -> None:
    sources = ["The cat sat on the mat.", "red\tdog sat big.", "le chat on the mat."]
    targets = ["hund.", "le chat on the mat.", "The cat sat, on the mat.", "red dog sat big."]
    (tmp_path / "a.txt").write_text("\ufeff" + "\n\n".join(sources) + "\n")  # a BOM is no text
    (tmp_path / "b.txt").write_text("\n".join(targets) + "\n")
    result = _run("align", tmp_path / "a.txt", tmp_path / "b.txt", "--skip-blank")
    assert result.exit_code == 0, result.output

    units = [Unit(text, "") for text in sources + targets]
    vectors = Encoder.open(bundle.path).encode(units, Options(comparable=True)).vectors
    expected = align_one_to_one(vectors[:3], vectors[3:])
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert len(rows) == len(expected.pairs) >= 2
    for row, pair in zip(rows, expected.pairs, strict=True):
        score, cosine, source, target, source_text, target_text = row
        assert float(score) == pytest.approx(pair.score, abs=1e-4)
        assert float(cosine) == pytest.approx(pair.cosine, abs=1e-5)
        assert (int(source), int(target)) == (1 + 2 * pair.source, 1 + pair.target)
        assert source_text == sources[pair.source].replace("\t", " ")
        assert target_text == targets[pair.target]


def test_align_takes_score_k_and_threshold(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The cat sat.\nle chat.\n")
    files = [tmp_path / "a.txt"] * 2
    rows = _run("align", *files, "--score", "cosine", "-k", "1").stdout.splitlines()
    assert [row.split("\t")[:4] for row in rows] == [
        ["1.000000", "1.000000", str(n), str(n)] for n in (1, 2)
    ]
    assert _run("align", *files, "--score", "cosine", "--threshold", "2").stdout == ""
    for value in ("nan", "inf"):
        assert _run("align", *files, "--threshold", value).exit_code == 2


def _rows(*arguments: str | Path) -> list[list[str]]:
    result = _run("align", *arguments)
    assert result.exit_code == 0, result.output
    return [line.split("\t") for line in result.stdout.splitlines()]


def test_align_documents_in_order_with_merges(bundle: Bundle, tmp_path: Path) -> None:
    one, other = tmp_path / "a.txt", tmp_path / "b.txt"
    one.write_text("The cat sat.\n\nThe big red dog sat on the mat.\nLe chat!\nHund on hund.\n")
    other.write_text("The cat sat.\nThe big red dog sat on the mat.\nLe chat! Hund on hund.\n")
    arguments = one, other, "--level", "document", "--skip-blank", "--score", "cosine"
    rows = _rows(*arguments)
    assert [row[2:4] for row in rows] == [["1", "1"], ["3", "2"], ["4,5", "3"]]
    assert rows[2][4:] == ["Le chat! Hund on hund.", "Le chat! Hund on hund."]
    lines = [json.loads(line[0]) for line in _rows(*arguments, "--format", "jsonl")]
    assert [(line["source"], line["target"]) for line in lines] == [
        ([1], [1]),
        ([3], [2]),
        ([4, 5], [3]),
    ]
    assert lines[2]["granularity"] == "paragraph"
    assert _rows(*arguments, "--threshold", "2") == []


def test_align_splits_raw_texts(bundle: Bundle, tmp_path: Path) -> None:
    one, other = tmp_path / "a.txt", tmp_path / "b.txt"
    one.write_text("The cat sat. Le chat\twas red! The dog.")
    other.write_text("The cat sat. Le chat was red! The dog.")
    rows = _rows(one, other, "--level", "document", "--raw")
    assert [row[2:] for row in rows] == [
        ["1", "1", "The cat sat.", "The cat sat."],
        ["2", "2", "Le chat was red!", "Le chat was red!"],
        ["3", "3", "The dog.", "The dog."],
    ]
    other.write_bytes(b"\xff")
    assert "b.txt is not UTF-8" in _one_line(_run("align", one, other, "--raw"), 1)
    other.write_bytes(b" \n")
    assert "b.txt is blank" in _one_line(_run("align", one, other, "--raw"), 1)


def test_align_links_words_of_parallel_lines(bundle: Bundle, tmp_path: Path) -> None:
    one, other = tmp_path / "a.txt", tmp_path / "b.txt"
    one.write_text("the cat\n\nred\nbig\n")
    other.write_text("the cat\nred\nred\n\n")
    rows = _rows(one, other, "--level", "word", "--skip-blank", "--languages", "en,de")
    assert rows == [
        ["1.000000", "1", "0", "3", "0", "3", "the", "the"],
        ["1.000000", "1", "4", "7", "4", "7", "cat", "cat"],
        ["1.000000", "3", "0", "3", "0", "3", "red", "red"],
    ]
    arguments = one, other, "--level", "word", "--skip-blank", "--format", "jsonl"
    first = json.loads(_rows(*arguments)[0][0])
    assert first["line"] == 1
    assert first["words"] == {"source": [[0, 3], [4, 7]], "target": [[0, 3], [4, 7]]}


@pytest.mark.parametrize("level", ["text", "document", "word"])
def test_align_draws_a_page(bundle: Bundle, tmp_path: Path, level: str) -> None:
    one, page = tmp_path / "a.txt", tmp_path / "out.html"
    one.write_text("the <b>cat</b> & dog\nred mat\n")
    _rows(one, one, "--level", level, "--html", page)
    html = page.read_text(encoding="utf-8")
    assert "<b>cat" not in html
    assert ("the &lt;b&gt;cat&lt;/b&gt; &amp; dog" in html) == (level != "word")
    assert "http" not in html.replace("http://www.w3.org/2000/svg", "")
    lines = [json.loads(found) for found in re.findall(r'data-lines="([^"]*)"', html)]
    assert [0, 0] in lines[0]
    assert "cosine 1.000" in html
    nowhere = tmp_path / "no" / "out.html"
    assert "cannot be written" in _one_line(_run("align", one, one, "--html", nowhere), 1)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--level", "document", "--method", "best"], 1, "at level document use one of monotonic"),
        (["--level", "word", "--score", "csls"], 1, "at level word use one of cosine"),
        (["--min-probability", "0.5"], 1, "is not calibrated for anything; use threshold"),
        (["--min-probability", "nan"], 2, "nan"),
        (["--languages", "en"], 2, "'en' is not two languages; give them as en,de"),
        (["--max-merge", "9"], 2, "1<=x<=8"),
        (["-k", "0"], 2, "x>=1"),
        (["--level", "word"], 1, "a.txt has 2 texts and"),
    ],
)
def test_what_cannot_be_aligned_is_one_line(
    bundle: Bundle, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    one, other = tmp_path / "a.txt", tmp_path / "b.txt"
    one.write_text("the cat\nred\n")
    other.write_text("the cat\n")
    assert message in _one_line(_run("align", one, other, *arguments), code)


def test_align_names_the_file_and_line_at_fault(bundle: Bundle, tmp_path: Path) -> None:
    good, blank, empty = (tmp_path / name for name in ("good", "blank", "empty"))
    good.write_text("cat\n")
    blank.write_text("cat\n\n")
    empty.write_text("")
    assert f"{blank} line 2 is blank" in _one_line(_run("align", good, blank), 1)
    assert f"{empty} has no lines" in _one_line(_run("align", good, empty), 1)


def test_info_describes_the_bundle(bundle: Bundle) -> None:
    info = json.loads(_run("info").stdout)
    assert (info["name"], info["dimensions"]) == ("tiny", DIMENSION)
    assert info["routing"] == {"phrase": "phrase", "sentence": "sentence", "paragraph": "paragraph"}


def test_info_tells_what_would_compute_the_model(bundle: Bundle) -> None:
    info = json.loads(_run("info", "--runtime", "onnxruntime", "--device", "cpu").stdout)
    assert (info["runtime"], info["precision"], info["device"]) == (
        *("onnxruntime", "float32", "cpu"),
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--precision", "int8"), "the bundle has no graph of int8, only of float32"),
        (("--runtime", "onnxruntime", "--precision", "bfloat16"), "there is no such combination"),
        (("--precision", "float64"), "--precision is 'float64': input should be 'auto', 'float32'"),
    ],
)
@pytest.mark.parametrize("command", ["embed", "info"])
def test_what_cannot_compute_the_model_is_refused_in_one_line(
    bundle: Bundle, command: str, arguments: tuple[str, ...], message: str
) -> None:
    assert message in _one_line(_run(command, *arguments), 2)


def test_the_option_wins_over_the_environment(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYGRAIN_BUNDLE", "/nowhere")
    assert "bundle /nowhere: no such folder" in _one_line(_run("info"), 1)
    assert json.loads(_run("info", "--bundle", bundle.path).stdout)["name"] == "tiny"


def test_a_bundle_is_verified_in_one_line(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "b")
    result = _run("bundle", "verify", bundle.path)
    assert (result.exit_code, result.stdout) == (0, "OK tiny 0.1.0: 3 files match\n")
    (bundle.path / "MODEL_CARD.md").write_bytes(b"# tiny\n\nA toy for tests?\n")
    for command in (["bundle", "verify"], ["info", "--bundle"]):
        result = _run(*command, bundle.path)
        assert "MODEL_CARD.md does not match its sha256" in _one_line(result, 1)
        assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("POLYGRAIN_PORT", "tcp://10.0.0.1:80", "POLYGRAIN_PORT is 'tcp://10.0.0.1:80': input sho"),
        ("POLYGRAIN_PORT", "65536", "POLYGRAIN_PORT is '65536': input should be less than or"),
        ("POLYGRAIN_MAX_ITEMS", "0", "POLYGRAIN_MAX_ITEMS is '0': input should be greater than 0"),
        ("POLYGRAIN_LOG_LEVEL", "loud", "POLYGRAIN_LOG_LEVEL is 'loud': input should be 'debug'"),
    ],
)
def test_a_bad_setting_is_one_line_and_exit_2(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    for command in ("serve", "embed", "info"):
        assert message in _one_line(_run(command, stdin="cat\n"), 2)


def test_a_bad_option_is_named_as_it_was_given(bundle: Bundle) -> None:
    assert "--threads is 0: input should be greater" in _one_line(
        _run("embed", "--threads", "0"), 2
    )
    assert "--port is 65536" in _one_line(_run("serve", "--port", "65536"), 2)
    assert "--log-level is 'loud'" in _one_line(_run("serve", "--log-level", "loud"), 2)


def _shell(command: str, bundle: Bundle) -> subprocess.CompletedProcess[str]:
    polygrain = f"{sys.executable} -c 'from service.cli import main; main()'"
    environment = {**os.environ, "POLYGRAIN_BUNDLE": str(bundle.path), "POLYGRAIN_THREADS": "1"}
    return subprocess.run(
        ["bash", "-c", command.replace("polygrain", polygrain)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        check=False,
    )


def test_serve_refuses_a_damaged_bundle_in_one_line(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "b")
    (bundle.path / "tokenizer.json").unlink()
    result = _shell("polygrain serve --port 0", bundle)
    assert result.returncode == 1
    assert result.stderr.startswith(f"Error: bundle {bundle.path}: missing tokenizer.json")
    assert len(result.stderr.splitlines()) == 1


def test_serve_warns_of_a_variable_that_is_no_setting(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "b")
    (bundle.path / "tokenizer.json").unlink()
    result = _shell("POLYGRAIN_PROT=1 polygrain serve --port 0", bundle)
    assert "unknown_setting name=POLYGRAIN_PROT" in result.stderr


def test_a_reader_that_leaves_early_is_no_trace(tiny_bundle: Bundle) -> None:
    result = _shell("yes 'the cat' | polygrain embed | head -n 2", tiny_bundle)
    assert len(result.stdout.splitlines()) == 2
    assert result.stderr == ""


def test_lines_come_out_before_the_input_ends(tiny_bundle: Bundle) -> None:
    # An input without end, so that this can only pass where lines are written as they are read.
    result = _shell("yes 'the cat' | polygrain embed | tail -n +1025 | head -n 1", tiny_bundle)
    assert json.loads(result.stdout)["line"] == 1_025


def test_the_version_is_the_projects() -> None:
    assert _run("--version").stdout == f"polygrain {version('polygrain')}\n"


def test_nothing_needs_torch_or_transformers(tiny_bundle: Bundle) -> None:
    program = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "transformers", "adapters", "onnx", "training"}:
            raise ImportError(f"{name} must not be needed")

sys.meta_path.insert(0, Refuse())
import service.app
from service.cli import main
main(["embed"])
"""
    environment = {**os.environ, "POLYGRAIN_BUNDLE": str(tiny_bundle.path)}
    result = subprocess.run(
        [sys.executable, "-c", program],
        input="the cat\n",
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(io.StringIO(result.stdout).readline())["tokens"] == 4
