"""`polygrain align`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from models.bundle import Bundle
from service.alignment.matching import align_one_to_one
from service.encoding.encoder import Encoder, Options, Unit
from tests.service.commands.running import one_line, run


def _rows(*arguments: str | Path) -> list[list[str]]:
    result = run("align", *arguments)
    assert result.exit_code == 0, result.output
    return [line.split("\t") for line in result.stdout.splitlines()]


def test_align_writes_pairs_best_first(bundle: Bundle, tmp_path: Path) -> None:
    sources = ["The cat sat on the mat.", "red\tdog sat big.", "le chat on the mat."]
    targets = ["hund.", "le chat on the mat.", "The cat sat, on the mat.", "red dog sat big."]
    (tmp_path / "a.txt").write_text("\ufeff" + "\n\n".join(sources) + "\n")  # a BOM is no text
    (tmp_path / "b.txt").write_text("\n".join(targets) + "\n")
    result = run("align", tmp_path / "a.txt", tmp_path / "b.txt", "--skip-blank")
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
    rows = run("align", *files, "--score", "cosine", "-k", "1").stdout.splitlines()
    assert [row.split("\t")[:4] for row in rows] == [
        ["1.000000", "1.000000", str(n), str(n)] for n in (1, 2)
    ]
    assert run("align", *files, "--score", "cosine", "--threshold", "2").stdout == ""
    for value in ("nan", "inf"):
        assert run("align", *files, "--threshold", value).exit_code == 2


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
    assert "b.txt is not UTF-8" in one_line(run("align", one, other, "--raw"), 1)
    other.write_bytes(b" \n")
    assert "b.txt is blank" in one_line(run("align", one, other, "--raw"), 1)


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
    assert "cannot be written" in one_line(run("align", one, one, "--html", nowhere), 1)


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
    assert message in one_line(run("align", one, other, *arguments), code)


def test_align_names_the_file_and_line_at_fault(bundle: Bundle, tmp_path: Path) -> None:
    good, blank, empty = (tmp_path / name for name in ("good", "blank", "empty"))
    good.write_text("cat\n")
    blank.write_text("cat\n\n")
    empty.write_text("")
    assert f"{blank} line 2 is blank" in one_line(run("align", good, blank), 1)
    assert f"{empty} has no lines" in one_line(run("align", good, empty), 1)
