"""The benchmarks of alignment compare what they say they compare."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import alignment, alignment_quality
from benchmarks.alignment_quality import Counts, compare, disturb
from models.bundle import Bundle
from service.alignment.document_texts import Document
from service.alignment.scoring import Score
from service.encoding.encoder import Encoder


@pytest.mark.parametrize("way", ["laser", "numpy"])
def test_the_others_steps_find_the_same_pairs(way: str) -> None:
    sources, targets = alignment.made_texts(300)
    found = alignment.ours(sources, targets)
    assert alignment.WAYS[way](sources, targets) == found
    assert len(found) == 300


def test_every_way_and_length_is_a_row() -> None:
    runner = CliRunner()
    arguments = ["texts", "--texts", "50", "--rounds", "1"]
    result = runner.invoke(alignment.main, arguments, catch_exceptions=False)
    rows = [line.split(" |")[0] for line in result.output.splitlines() if line.startswith("| ")]
    assert rows[1:] == ["| ours", "| laser", "| numpy"]
    assert "all ways found the same pairs" in result.output
    arguments = ["documents", "--sentences", "30", "--sentences", "60", "--rounds", "1"]
    result = runner.invoke(alignment.main, arguments, catch_exceptions=False)
    assert len([line for line in result.output.splitlines() if line.startswith("| ")]) == 3


def test_strict_is_the_same_pair_and_lax_a_sentence_of_each_side() -> None:
    gold = [((0,), (0,)), ((1, 2), (1,)), ((3,), ()), ((4,), (2,))]
    found = [((0,), (0,)), ((1,), (1,)), ((2, 3), (2,)), ((), (3,))]
    counts = compare(gold, found)
    # (2, 3) shares a source with the gold's (1, 2), and its target with another pair: not lax.
    assert counts == Counts(gold=3, found=3, exact=1, found_touching=2, gold_touched=2)
    assert compare(gold, gold) == Counts(3, 3, 3, 3, 3)
    assert Counts(2, 4, 1, 2, 2).row() == "25.0 | 50.0 | 33.3 | 50.0 | 100.0 | 66.7"


def test_disturbed_documents_know_their_truth() -> None:
    sources = [f"s{n}" for n in range(400)]
    targets = [f"t{n}" for n in range(400)]
    source, target, gold = disturb(sources, targets, np.random.default_rng(1))
    kinds = {(len(one), len(other)) for one, other in gold}
    assert kinds == {(1, 1), (1, 2), (2, 1)}
    for one, other in gold:
        read = [
            " ".join(source.sentences[n] for n in one),
            " ".join(target.sentences[n] for n in other),
        ]
        assert read[0].replace("s", "t") == read[1]


def test_margins_cure_hubs_and_mining_takes_the_threshold_of_the_other_half() -> None:
    rng = np.random.default_rng(0)
    sources = rng.normal(size=(200, 32)).astype(np.float32)
    targets = sources + rng.normal(0, 0.1, sources.shape).astype(np.float32)
    sources /= np.linalg.norm(sources, axis=1, keepdims=True)
    targets /= np.linalg.norm(targets, axis=1, keepdims=True)
    assert alignment_quality.xsim(sources, targets, Score.MARGIN_RATIO) == 0
    assert alignment_quality.xsim(sources, targets[::-1].copy(), Score.COSINE) == 100
    assert alignment_quality.mining(sources, targets, Score.MARGIN_RATIO) > 95
    noise = rng.normal(size=targets.shape).astype(np.float32)
    assert alignment_quality.mining(sources, noise, Score.MARGIN_RATIO) < 20


def test_gold_sets_are_measured(tiny_bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "eval" / "doc_alignment" / "made_en-de"
    folder.mkdir(parents=True)
    lines = "the cat sat\n\nbig red dog\n"
    for language in ("en", "de"):
        with lzma.open(folder / f"one.{language}.txt.xz", "wt") as file:
            file.write(lines)
    with lzma.open(folder / "one.gold.jsonl.xz", "wt") as file:
        file.writelines(json.dumps([[n], [n]]) + "\n" for n in range(3))
    words = tmp_path / "eval" / "word_alignment"
    words.mkdir()
    row = {"tokens_a": ["the", "cat"], "tokens_b": ["the", "cat"], "sure": [[0, 0], [1, 1]]}
    with lzma.open(words / "toy_en-de.jsonl.xz", "wt") as file:
        file.write(json.dumps({**row, "possible": []}) + "\n")
    result = CliRunner().invoke(
        alignment_quality.main,
        [
            "--data",
            str(tmp_path),
            "--bundle",
            str(tiny_bundle.path),
            "--threads",
            "1",
            "--part",
            "documents",
            "--part",
            "words",
        ],
        catch_exceptions=False,
    )
    full = " | ".join(["100.0"] * 6)
    assert f"| made_en-de | 1 | {full} |" in result.output
    assert "| toy_en-de | 1 | 0.0 | 0.0 | 0.0 |" in result.output


def test_alignment_is_that_of_the_service(encoder_of_tiny: Encoder) -> None:
    texts = ("the cat sat", "big red dog", "le chat!")
    document = Document(texts)
    found = alignment_quality.align_documents(encoder_of_tiny, document, document)
    assert found == [((n,), (n,)) for n in range(3)]


@pytest.fixture
def encoder_of_tiny(tiny_bundle: Bundle) -> Encoder:
    return Encoder.open(tiny_bundle.path, threads=1)
