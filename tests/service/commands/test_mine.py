"""`polygrain mine` as its users give it, on the tiny bundle."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from models.bundle import Bundle
from service.cli import main
from tests.service.alignment.test_calibration import TABLE
from tests.tiny_bundle import write_tiny_bundle

SOURCES = ("the cat sat", "le chat", "the big red dog", "Hund 7", "the cat, sat!")
TARGETS = ("the big red hund", "le big chat", "the katze sat")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "a.txt", tmp_path / "b.txt"
    for path, lines in zip(paths, (SOURCES, TARGETS), strict=True):
        path.write_text("\n".join(lines) + "\n")
    return paths


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny", calibration=TABLE)


def _mine(files: tuple[Path, Path], bundle: Bundle, *options: str) -> Result:
    out = files[0].parent / "pairs.tsv"
    command = ["mine", *map(str, files), "--out", str(out), "--bundle", str(bundle.path)]
    return CliRunner().invoke(main, [*command, "--threads", "1", *options])


def _rows(files: tuple[Path, Path]) -> list[list[str]]:
    lines = (files[0].parent / "pairs.tsv").read_text().splitlines()
    return [line.split("\t") for line in lines[1:]]


def test_without_a_calibration_all_pairs_are_kept_and_it_says_so(
    files: tuple[Path, Path], tiny_bundle: Bundle
) -> None:
    result = _mine(files, tiny_bundle)
    assert result.exit_code == 0, result.output
    assert "give --threshold" in result.stderr
    rows = _rows(files)
    assert len(rows) == 3
    assert {row[2] for row in rows} == {""}
    # The fifth line repeats the first in its letters.
    assert "source: 5 lines, 4 kept, 1 left out" in result.stderr
    assert (files[0].parent / "pairs.tsv.summary.html").exists()
    assert not (files[0].parent / "pairs.tsv.errors.tsv").exists()


def test_probabilities_are_the_bundles_and_half_is_the_least(
    files: tuple[Path, Path], calibrated: Bundle
) -> None:
    result = _mine(files, calibrated, "--score", "cosine", "--langs", "en,de")
    assert result.exit_code == 0, result.output
    rows = _rows(files)
    assert rows
    assert all(float(row[2]) >= 0.5 for row in rows)
    assert all(float(row[0]) >= 0.5 for row in rows)  # where the curve crosses a half
    none = _mine(files, calibrated, "--score", "cosine", "--min-probability", "1")
    assert none.exit_code == 0
    assert _rows(files) == []


def test_lines_that_are_no_text_are_written_beside_the_pairs(
    files: tuple[Path, Path], tiny_bundle: Bundle
) -> None:
    files[1].write_bytes(files[1].read_bytes() + b"caf\xe9\n")
    result = _mine(files, tiny_bundle)
    assert result.exit_code == 0, result.output
    errors = (files[0].parent / "pairs.tsv.errors.tsv").read_text()
    assert errors == "target\t4\tnot UTF-8 (byte 3 of the line)\n"


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--min-probability", "0.9"), 2, "is not calibrated for margin_ratio of sentence texts"),
        (("--min-probability", "0.9", "--threshold", "1"), 2, "exclude each other"),
        (("--threshold", "nan"), 2, "nan is no score"),
        (("--langs", "en"), 2, "give two, like en,fr"),
        (("--k", "0"), 2, "x>=1"),
        (("--out", "pairs.csv"), 1, "ends in none of .tsv, .jsonl, .parquet"),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    files: tuple[Path, Path], tiny_bundle: Bundle, options: tuple[str, ...], code: int, said: str
) -> None:
    result = _mine(files, tiny_bundle, *options)
    assert result.exit_code == code
    assert said in result.stderr.replace("\n", " ")


def test_a_state_of_another_granularity_is_refused(
    files: tuple[Path, Path], tiny_bundle: Bundle
) -> None:
    assert _mine(files, tiny_bundle).exit_code == 0
    result = _mine(files, tiny_bundle, "--granularity", "phrase")
    assert result.exit_code == 1
    assert "its granularity is 'sentence'" in result.stderr
