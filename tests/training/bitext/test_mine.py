from __future__ import annotations

import json
import logging
import lzma
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from models.bundle import Bundle, Granularity
from tests.tiny_training import sentence, write_table
from training import cli as program
from training.bitext import mine as module
from training.bitext.mine import MiningOptions, check_output, mine_pairs, report, write_pairs
from training.bitext.texts import Text, clean, read_lines, read_rows
from training.corpora.overlap import fingerprints
from training.corpora.rows import Row
from training.corpora.rows import read_rows as corpus_rows
from training.corpora.table import read_table
from training.errors import TrainingError
from training.evaluation.similarity import Vectors

SENTENCE = Granularity.SENTENCE


class NumberEncoder:
    """Puts a text where the number at its end says, whatever its language."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def embed(self, texts: Sequence[str], adapter: str | None) -> Vectors:
        assert adapter == "sentence"
        self.calls.append(len(texts))
        rows = [np.random.default_rng(int(text.split()[-1])).normal(size=256) for text in texts]
        vectors = np.array(rows)
        unit: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(
            np.float32
        )
        return unit


def _texts(language: str, numbers: Sequence[int], ids: bool = False) -> list[Text]:
    return [
        Text(f"{sentence(language, n, 4)} {n}", "CC0", frozenset({f"e{n}"} if ids else ()))
        for n in numbers
    ]


def test_pairs_are_found_judged_and_read_back_as_a_corpus_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_EMBED_TEXTS", 16)
    sources = clean(_texts("en", range(40), ids=True), "en", SENTENCE)
    targets = clean(_texts("de", range(20, 60), ids=True), "de", SENTENCE)
    encoder, options = NumberEncoder(), MiningOptions()
    paired = mine_pairs(encoder, "sentence", sources, targets, options)
    assert encoder.calls == [16, 16, 8] * 2
    values = report(paired, sources, targets, options)
    assert values["pairs"] + sum(values["dropped"].values()) == values["neighbours"]
    assert values["withheld"]["recall"] == 100
    assert values["withheld"]["precision"] == pytest.approx(100 * 20 / values["pairs"])
    mined = paired.mined
    best = values["withheld"]["best_margin"]
    # The right pairs have the best margins, and there are wrong ones behind them.
    assert mined.margins[19] > best > mined.margins[20]
    assert values["texts"]["en"] == {"read": 40, "dropped": {}, "kept": 40}
    file = tmp_path / "own.tsv"
    write_pairs(file, paired, sources, targets, SENTENCE)
    rows = list(corpus_rows(file))
    assert len(rows) == 2 * values["pairs"]
    assert {row.licence for row in rows} == {"CC0"}
    assert {row.granularity for row in rows} == {"sentence"}
    assert {row.source for row in rows} == {"own"}
    assert [row.language for row in rows[:2]] == ["en", "de"]
    assert rows[0].alignment_id == rows[1].alignment_id == "own.en-de.0"
    numbers = [int(row.text.split()[-1]) for row in rows]
    right = [a == b for a, b in zip(numbers[::2], numbers[1::2], strict=True)]
    # All right pairs come first: their margins are the best.
    assert right == sorted(right, reverse=True)
    assert sum(right) == 20


def test_without_ids_nothing_is_judged() -> None:
    sources = clean(_texts("en", range(5)), "en", SENTENCE)
    targets = clean(_texts("de", range(5)), "de", SENTENCE)
    options = MiningOptions()
    paired = mine_pairs(NumberEncoder(), "sentence", sources, targets, options)
    assert "withheld" not in report(paired, sources, targets, options)


def test_the_log_holds_no_text(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        sides = [clean(_texts(each, range(5)), each, SENTENCE) for each in ("en", "de")]
        mine_pairs(NumberEncoder(), "sentence", sides[0], sides[1], MiningOptions())
    assert caplog.messages == ["mining sources=5 targets=5"]


def test_texts_are_cleaned_counted_and_put_in_an_order_of_their_own() -> None:
    lines = [
        "  Das Haus   ist groß. ",
        "das haus ist groß!",
        "...",
        "Дом очень большой и красивый.",
        "The quick brown fox jumps over the lazy dog near the river bank today.",
        "Ein Satz aus dem Test.",
        "Die Brücke ist alt.",
        "Der Garten ist still.",
        "x" * 700,
        "a\x07bc",
    ]
    found = clean(map(Text, lines), "de", SENTENCE, fingerprints(["ein satz aus dem test"]))
    assert {each.text for each in found.texts} == {
        "Das Haus ist groß.",
        "Die Brücke ist alt.",
        "Der Garten ist still.",
    }
    assert found.read == 10
    assert dict(found.dropped) == {
        "repeated": 1,
        "no letters": 1,
        "script": 1,
        "language": 1,
        "evaluation": 1,
        "length": 1,
        "control characters": 1,
    }
    turned = clean(map(Text, reversed(lines[5:8])), "de", SENTENCE)
    assert turned.texts == clean(map(Text, lines[5:8]), "de", SENTENCE).texts
    cut = clean(map(Text, lines[5:8]), "de", SENTENCE, most=2)
    assert cut.texts == turned.texts[:2]
    assert dict(cut.dropped) == {"over the limit": 1}
    with pytest.raises(TrainingError, match=r"no sentence in de is left of 1 texts.*1 no letters"):
        clean([Text("...")], "de", SENTENCE)


def test_lines_may_be_compressed(tmp_path: Path) -> None:
    file = tmp_path / "de.txt.xz"
    with lzma.open(file, "wt", encoding="utf-8") as out:
        out.write("eins\nzwei\n")
    assert [each.text.strip() for each in read_lines(file)] == ["eins", "zwei"]


def test_a_table_gives_one_language_and_keeps_ids_of_what_repeats(tmp_path: Path) -> None:
    rows = [
        Row("a:1", "a", "MIT", "sentence", "en", "A house."),
        Row("a:1", "a", "MIT", "sentence", "de", "Ein Haus."),
        Row("a:2", "a", "MIT", "sentence", "de", "ein Haus"),
        Row("a:2", "a", "MIT", "phrase", "de", "Haus"),
        Row("b:1", "b", "MIT", "sentence", "de", "Ein Stein."),
    ]
    table = write_table(tmp_path / "corpus.parquet", rows)
    found = clean(read_rows(table, "de", SENTENCE, ["b"]), "de", SENTENCE)
    assert found.texts == (Text("Ein Haus.", "MIT", frozenset({"a:1", "a:2"})),)


@pytest.mark.parametrize("name", ["pairs.parquet", "own.pairs.tsv", "own.wide.tsv", "no/own.tsv"])
def test_an_output_that_no_corpus_build_reads_is_refused_at_once(tmp_path: Path, name: str) -> None:
    with pytest.raises(TrainingError, match=r"name it NAME\.tsv|there is no folder"):
        check_output(tmp_path / name)
    (tmp_path / "there.tsv").touch()
    with pytest.raises(FileExistsError):
        check_output(tmp_path / "there.tsv")


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(program.cli, list(map(str, arguments)), catch_exceptions=False)


def test_mined_lines_become_a_corpus_table(tiny_bundle: Bundle, tmp_path: Path) -> None:
    english, german = tmp_path / "en.txt", tmp_path / "de.txt"
    english.write_text("".join(f"the cat sat on mat {n}\nbig dog {n}\n" for n in range(10)))
    german.write_text("".join(f"katze sat auf mat {n}\nhund {n}\n" for n in range(10)))
    out, record = tmp_path / "mined.tsv", tmp_path / "report.json"
    options = ("--languages", "en,de", "--bundle", tiny_bundle.path, "--out", out)
    done = _run("mine", english, german, *options, "--report", record, "--margin", 0)
    assert done.exit_code == 0
    assert "en: kept 20 of 20 texts" in done.stderr
    values = json.loads(record.read_text())
    assert 0 < values["pairs"] <= 20
    assert values["pairs"] + sum(values["dropped"].values()) == values["neighbours"]
    table = tmp_path / "corpus.parquet"
    build = ("corpus", "build", out, "--out", table, "--no-evaluation", "--licence", "CC0")
    assert _run(*build).exit_code == 0
    entities = list(read_table(table))
    assert len(entities) == values["pairs"]
    assert all([row.language for row in each.rows] == ["en", "de"] for each in entities)


def test_a_table_is_mined_with_its_pairing_withheld(tiny_bundle: Bundle, tmp_path: Path) -> None:
    rows = [
        Row(f"e{n}", "made", "MIT", "sentence", language, f"{text} {n}")
        for n in range(12)
        for language, text in (("en", "the cat sat"), ("fr", "le chat sat"))
    ]
    table = write_table(tmp_path / "corpus.parquet", rows)
    options = ("--languages", "en, fr", "--bundle", tiny_bundle.path, "--margin", 0)
    out = tmp_path / "mined.tsv"
    done = _run("mine", table, *options, "--out", out, "--limit", 8)
    assert done.exit_code == 0
    assert "against the pairing that was withheld: precision" in done.stderr
    assert "over the limit" in done.stderr
    assert {row.licence for row in corpus_rows(out)} == {"MIT"}


@pytest.mark.parametrize(
    ("inputs", "languages", "rest", "message"),
    [
        (1, "en", (), "give two, like en,sw"),
        (1, "en,en", (), "give two, like en,sw"),
        (3, "en,de", (), "3 inputs; give two files"),
        (2, "en,de", ("--exclude-source", "a"), "--exclude-source is for a corpus table"),
    ],
)
def test_a_command_that_makes_no_sense_says_so(
    tiny_bundle: Bundle,
    tmp_path: Path,
    inputs: int,
    languages: str,
    rest: tuple[str, ...],
    message: str,
) -> None:
    files = [tmp_path / f"{place}.txt" for place in range(inputs)]
    for file in files:
        file.write_text("a line\n")
    out = tmp_path / "mined.tsv"
    with pytest.raises(TrainingError, match=message):
        _run(
            *("mine", *files, "--languages", languages, "--bundle", tiny_bundle.path),
            *("--out", out, *rest),
        )
