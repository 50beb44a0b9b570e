"""Files in, pairs out: what is found, and that a killed run ends as an unbroken one."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.alignment.matching import align_one_to_one
from service.alignment.mining import Stage, mine
from service.alignment.scoring import Score
from service.errors import InvalidInput
from tests.service.alignment.mining.toy import MODEL, embed, job, lines

Found = list[tuple[int, int, float]]


def _write(folder: Path, sources: Sequence[str], targets: Sequence[str]) -> None:
    for name, texts in (("a.txt", sources), ("b.txt", targets)):
        (folder / name).write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")


def _rows(out: Path) -> list[list[str]]:
    header, *rows = out.read_text(encoding="utf-8").split("\n")[:-1]
    assert header.split("\t") == [
        *("score", "cosine", "probability"),
        *("source_line", "target_line", "source", "target"),
    ]
    return [row.split("\t") for row in rows]


def _found(out: Path) -> Found:
    return [(int(row[3]) - 1, int(row[4]) - 1, float(row[0])) for row in _rows(out)]


def _two_sides(seed: int, sources: int = 61, targets: int = 100) -> tuple[list[str], list[str]]:
    """Lines of which about half have a partner, in any order."""
    rng = np.random.default_rng(seed)
    words = rng.permutation(sources + targets // 2)
    ones = words[:sources]
    others = rng.permutation(words[sources // 2 :])[:targets]
    return lines("one", ones.tolist()), lines("other", others.tolist())


@pytest.mark.parametrize("score", Score)
@pytest.mark.parametrize("seed", range(2))
def test_pairs_are_those_of_brute_force(tmp_path: Path, seed: int, score: Score) -> None:
    if score not in (Score.COSINE, Score.MARGIN_RATIO, Score.MARGIN_DISTANCE):
        pytest.skip("not a score of this module's oracle")
    sources, targets = _two_sides(seed)
    _write(tmp_path, sources, targets)
    mined = mine(replace(job(tmp_path), score=score), embed, MODEL)
    half = [_half(embed(side)) for side in (sources, targets)]
    expected = align_one_to_one(half[0], half[1], score=score).pairs
    found = _found(tmp_path / "pairs.tsv")
    assert [(i, j) for i, j, _ in found] == [(pair.source, pair.target) for pair in expected]
    assert [value for *_, value in found] == pytest.approx(
        [pair.score for pair in expected], abs=1e-5
    )
    assert mined.pairs == len(expected) > 20
    assert [value for *_, value in found] == sorted((v for *_, v in found), reverse=True)


def _half(
    vectors: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Vectors as they come back from the disk."""
    rows = vectors.astype(np.float16).astype(np.float32)
    unit: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = rows / np.linalg.norm(
        rows, axis=1, keepdims=True
    )
    return unit


def test_the_right_partners_are_found(tmp_path: Path) -> None:
    _write(tmp_path, lines("one", range(50)), lines("other", range(49, -1, -1)))
    mine(job(tmp_path), embed, MODEL)
    found = _found(tmp_path / "pairs.tsv")
    assert sum(i == 49 - j for i, j, _ in found) >= 48


def test_a_threshold_leaves_lower_pairs_out_and_needs_no_new_vectors(tmp_path: Path) -> None:
    _write(tmp_path, *_two_sides(1))
    whole = mine(job(tmp_path), embed, MODEL)
    everything = _found(tmp_path / "pairs.tsv")
    middle = everything[len(everything) // 2][2]

    def refuse(texts: Sequence[str]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        raise AssertionError("embedded again")

    some = mine(replace(job(tmp_path), threshold=middle - 1e-6), refuse, MODEL)
    kept = _found(tmp_path / "pairs.tsv")
    assert kept == [each for each in everything if each[2] >= middle - 1e-6]
    assert some.pairs + some.below_threshold == whole.pairs
    assert 0 < some.below_threshold < whole.pairs


def test_repeated_lines_stand_once_under_their_first_number(tmp_path: Path) -> None:
    sources = [
        "one says w1",
        "",
        "one says w2",
        "one says w1",
        "ONE, says: w2!",
        "...",
        "one says w3",
    ]
    _write(tmp_path, sources, ["other says w3", "other says w1", "other says w2"])
    mined = mine(job(tmp_path), embed, MODEL)
    assert sorted((i, j) for i, j, _ in _found(tmp_path / "pairs.tsv")) == [(0, 1), (2, 2), (6, 0)]
    assert mined.counts[0] == {
        "lines": 7,
        "blank": 1,
        "not_text": 0,
        "without_letters": 1,
        "repeated": 1,
        "repeated_letters": 1,
        "kept": 3,
    }


def test_lines_that_are_no_text_are_named_and_the_rest_is_mined(tmp_path: Path) -> None:
    _write(tmp_path, [], lines("other", range(5)))
    raw = [line.encode() for line in lines("one", range(5))]
    raw[2:2] = [b"caf\xe9 says w9", b"nul \x00 says w8", b"x" * 400_001]
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(raw))
    mined = mine(job(tmp_path), embed, MODEL)
    assert mined.errors[0].read_text().split("\n") == [
        "3\tnot UTF-8 (byte 3 of the line)",
        "4\tholds a NUL character",
        "5\tlonger than 400000 bytes",
        "",
    ]
    assert mined.counts[0]["not_text"] == 3
    assert sorted((i, j) for i, j, _ in _found(tmp_path / "pairs.tsv")) == [
        *((0, 0), (1, 1), (5, 2), (6, 3), (7, 4)),
    ]
    assert _rows(tmp_path / "pairs.tsv")[0][5].startswith("one says")


@pytest.mark.parametrize("empty", ["a.txt", "b.txt", "both"])
def test_an_empty_file_gives_no_pairs(tmp_path: Path, empty: str) -> None:
    some = lines("one", range(3))
    _write(tmp_path, [] if empty != "b.txt" else some, [] if empty != "a.txt" else some)
    mined = mine(job(tmp_path), embed, MODEL)
    assert mined.pairs == 0
    assert _rows(tmp_path / "pairs.tsv") == []
    assert "No pairs." in (tmp_path / "summary.html").read_text()


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_files_give_the_same_pairs(tmp_path: Path, suffix: str) -> None:
    sources, targets = _two_sides(5)
    _write(tmp_path, sources, targets)
    mine(job(tmp_path), embed, MODEL)
    plain = (tmp_path / "pairs.tsv").read_bytes()
    content = (tmp_path / "a.txt").read_bytes()
    packed = tmp_path / f"a.txt{suffix}"
    # In two members or frames, as concatenated files have them.
    if suffix == ".gz":
        packed.write_bytes(gzip.compress(content[:400]) + gzip.compress(content[400:]))
    else:
        codec = pa.Codec("zstd")
        packed.write_bytes(
            b"".join(codec.compress(each, asbytes=True) for each in (content[:400], content[400:]))
        )
    mine(replace(job(tmp_path), source=packed, state=tmp_path / "other"), embed, MODEL)
    assert (tmp_path / "pairs.tsv").read_bytes() == plain


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, [], lines("other", range(5)))
    packed = tmp_path / "a.gz"
    packed.write_bytes(gzip.compress(b"one says w1\n" * 50)[:-20])
    with pytest.raises(InvalidInput, match="cannot be read"):
        mine(replace(job(tmp_path), source=packed), embed, MODEL)


def test_every_format_holds_the_same_rows(tmp_path: Path) -> None:
    _write(tmp_path, *_two_sides(3))
    for out in ("pairs.tsv", "pairs.jsonl", "pairs.parquet"):
        mine(
            job(tmp_path, out),
            embed,
            MODEL,
            probabilities=lambda scores: np.full(len(scores), 0.25, np.float32),
        )
    rows = _rows(tmp_path / "pairs.tsv")
    objects = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    assert [[str(value) for value in each.values()] for each in objects] == rows
    assert {each["probability"] for each in objects} == {0.25}
    table = pq.read_table(tmp_path / "pairs.parquet").to_pylist()
    assert [(each["source_line"], each["target"]) for each in table] == [
        (each["source_line"], each["target"]) for each in objects
    ]


def test_the_summary_counts_what_was_mined(tmp_path: Path) -> None:
    _write(tmp_path, *_two_sides(3))
    mined = mine(job(tmp_path), embed, MODEL)
    assert sum(mined.histogram.counts) == mined.pairs
    page = (tmp_path / "summary.html").read_text()
    assert page.count("<rect") == len(mined.histogram.counts)
    assert f"{mined.pairs} pairs kept" in page


@pytest.mark.parametrize("change", ["input", "model", "foreign"])
def test_another_runs_state_is_refused(tmp_path: Path, change: str) -> None:
    _write(tmp_path, *_two_sides(2))
    model = MODEL
    if change == "foreign":
        (tmp_path / "state").mkdir()
        (tmp_path / "state" / "thesis.doc").touch()
    else:
        mine(job(tmp_path), embed, MODEL)
        if change == "input":
            _write(tmp_path, *_two_sides(3))
        else:
            model = {"bundle": "toy 2"}
    with pytest.raises(InvalidInput, match="give another state folder"):
        mine(job(tmp_path), embed, model)


def test_a_touched_file_of_the_same_content_goes_on(tmp_path: Path) -> None:
    _write(tmp_path, *_two_sides(2))
    mine(job(tmp_path), embed, MODEL)
    before = (tmp_path / "pairs.tsv").read_bytes()
    _write(tmp_path, *_two_sides(2))
    mine(job(tmp_path), embed, MODEL)
    assert (tmp_path / "pairs.tsv").read_bytes() == before


@pytest.mark.parametrize("name", ["pairs.csv", "none/pairs.tsv"])
def test_an_output_that_cannot_be_is_refused_at_once(tmp_path: Path, name: str) -> None:
    _write(tmp_path, *_two_sides(2))
    with pytest.raises(InvalidInput, match=r"ends in none of|no folder"):
        mine(job(tmp_path, name), embed, MODEL)
    assert not (tmp_path / "state").exists()


class _Run:
    """A run in a process of its own, which waits at every step."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.service.alignment.mining.toy", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def steps(self, most: int) -> tuple[int, bool]:
        """Let it go `most` steps at most, then kill it: how many it went, and whether it ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        for step in range(most):
            if not self._process.stdout.readline():
                return step, self._process.wait() == 0
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        self._process.kill()
        return most, False

    def embedded(self) -> list[str]:
        """What it embedded, and its end."""
        with self._process as process:
            assert process.stderr is not None
            return process.stderr.read().splitlines()


def test_a_run_killed_again_and_again_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
        _write(folder, *_two_sides(4, 50, 70))
    mine(job(whole), embed, MODEL)
    embedded: list[str] = []
    # 8 blocks: a step for each side read, two or three for each block, then search and pairing.
    for most in (1, 4, 7, 9, 12, 400):
        run = _Run(broken)
        _, ended = run.steps(most)
        # What a kill in the middle of writing a block leaves behind.
        for part in list((broken / "state").rglob("vectors")):
            (part / "000009.npy.part").write_bytes(b"cut")
        embedded += run.embedded()
    assert ended
    assert (broken / "pairs.tsv").read_bytes() == (whole / "pairs.tsv").read_bytes()
    # Five kills cost at most five blocks of 16.
    assert len(set(embedded)) == 110
    assert len(embedded) <= 110 + 5 * 16


def test_two_runs_cannot_share_a_state(tmp_path: Path) -> None:
    _write(tmp_path, *_two_sides(2))

    def second(stage: Stage, done: int, total: int) -> None:
        with pytest.raises(InvalidInput, match="another process"):
            mine(job(tmp_path), embed, MODEL)

    mine(job(tmp_path), embed, MODEL, report=second)
