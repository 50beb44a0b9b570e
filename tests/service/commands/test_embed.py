"""`polygrain embed`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from models.bundle import Bundle
from tests.service.commands.running import one_line, run, shell
from tests.tiny_bundle import DIMENSION, expected_embedding


def test_lines_become_json_lines(bundle: Bundle) -> None:
    result = run("embed", stdin="the cat sat on the mat.\nBig Dog\n")
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
    result = run(
        "embed", tmp_path / "in.txt", "--granularity", "sentence", "--out", tmp_path / "x.npy"
    )
    assert result.exit_code == 0, result.output
    vectors = np.load(tmp_path / "x.npy")
    assert (vectors.dtype, vectors.shape) == (np.float32, (3, DIMENSION))
    for text, vector in zip(texts, vectors, strict=True):
        np.testing.assert_allclose(vector, expected_embedding(text, "sentence"), atol=1e-6)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.txt", "x.npy"]


def test_a_file_that_cannot_be_written_is_one_line(bundle: Bundle, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere" / "x.npy"
    said = one_line(run("embed", "--out", nowhere, stdin="cat\n"), 1)
    assert said == f"Error: {nowhere} cannot be written: No such file or directory"


@pytest.mark.parametrize("count", [1_023, 1_024, 1_025, 2_500])
def test_every_line_of_a_large_input_has_its_row(
    bundle: Bundle, tmp_path: Path, count: int
) -> None:
    words = [f"{'abcdefghij'[n % 10]} {'klmnopqrst'[n // 10 % 10]}" for n in range(count)]
    result = run(
        *("embed", "-", "--adapter", "sentence", "--out", tmp_path / "x.npy"),
        stdin="\n".join(words) + "\n",
    )
    assert result.exit_code == 0, result.output
    vectors = np.load(tmp_path / "x.npy")
    assert vectors.shape == (count, DIMENSION)
    for n in {0, 1, count // 2, count - 2, count - 1}:
        np.testing.assert_allclose(vectors[n], expected_embedding(words[n], "sentence"), atol=1e-6)


def test_no_lines_are_no_rows(bundle: Bundle, tmp_path: Path) -> None:
    assert run("embed", stdin="").stdout == ""
    assert run("embed", "--out", tmp_path / "x.npy", stdin="").exit_code == 0
    assert np.load(tmp_path / "x.npy").shape == (0, DIMENSION)


def test_a_blank_line_is_an_error_by_number_or_left_out(bundle: Bundle, tmp_path: Path) -> None:
    stdin = "cat\n\n \t\ndog\n"
    message = one_line(run("embed", stdin=stdin), 1)
    assert message == "Error: line 2 is blank; remove it, or give --skip-blank"
    out = tmp_path / "x.npy"
    assert run("embed", "--out", out, stdin=stdin).exit_code == 1
    assert list(tmp_path.iterdir()) == []
    result = run("embed", "--skip-blank", stdin=stdin)
    assert [json.loads(line)["line"] for line in result.stdout.splitlines()] == [1, 4]


def test_a_line_that_is_no_text_is_an_error_by_number(bundle: Bundle) -> None:
    assert "line 2 holds a NUL character" in one_line(run("embed", stdin="a\nb\0\n"), 1)
    assert "line 2 is not UTF-8 (byte 1)" in one_line(run("embed", stdin=b"a\nb\xff\n"), 1)
    long = run("embed", "--long-text", "error", "--adapter", "phrase", stdin="cat\n" + "cat " * 9)
    assert "line 2 has 11 tokens and adapter phrase takes 8" in one_line(long, 1)


def test_options_of_embed_reach_the_encoder(bundle: Bundle) -> None:
    stdin = "a b c d e f g h i j\n"
    (cut,) = run(
        "embed", "--adapter", "phrase", "--long-text", "truncate", stdin=stdin
    ).stdout.splitlines()
    assert (json.loads(cut)["tokens"], json.loads(cut)["truncated"]) == (8, True)
    (raw,) = run("embed", "--no-normalize", stdin=stdin).stdout.splitlines()
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
    assert message in one_line(run("embed", *arguments, stdin="cat\n"), 2)


def test_a_reader_that_leaves_early_is_no_trace(tiny_bundle: Bundle) -> None:
    result = shell("yes 'the cat' | polygrain embed | head -n 2", tiny_bundle)
    assert len(result.stdout.splitlines()) == 2
    assert result.stderr == ""


def test_lines_come_out_before_the_input_ends(tiny_bundle: Bundle) -> None:
    # An input without end, so that this can only pass where lines are written as they are read.
    result = shell("yes 'the cat' | polygrain embed | tail -n +1025 | head -n 1", tiny_bundle)
    assert json.loads(result.stdout)["line"] == 1_025
