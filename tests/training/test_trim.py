from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from onnx import numpy_helper
from tokenizers import Tokenizer

from models.bundle import Bundle, TokenLayer, sha256_of
from tests.tiny_bundle import DIMENSION, TOKEN_LAYER, tiny_graph, write_tiny_bundle
from tests.tiny_training import sentence
from tests.training.trimming.tokenizers_by_kind import byte_level_bpe, unigram, word_piece
from training import cli as program
from training.corpora.table import FORMAT_VERSION, REPORT_KEY, SCHEMA
from training.errors import TrainingError
from training.half_weights import store_in_half
from training.trim import TrimOptions, trim
from training.trimming.tokenizer import Characters

LANGUAGES = ("en", "de", "ru", "ko")
OPTIONS = TrimOptions(("en", "de"), characters=Characters.USED, sample=20, threads=1)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus table of 300 phrases, sentences and paragraphs in four languages."""
    rows = [
        (f"{granularity}.{number}", "made", "CC0", granularity, language, text)
        for granularity, length in (("phrase", 2), ("sentence", 6), ("paragraph", 12))
        for number in range(300)
        for language in LANGUAGES
        if (text := sentence(language, number, length))
    ]
    file = tmp_path_factory.mktemp("table") / "corpus.parquet"
    report = {"format_version": FORMAT_VERSION, "sources": {"made": {"kept": len(rows)}}}
    columns = [pa.array(each, pa.string()) for each in zip(*rows, strict=True)]
    with pq.ParquetWriter(file, SCHEMA) as writer:
        writer.write_table(pa.table(columns, schema=SCHEMA))
        writer.add_key_value_metadata({REPORT_KEY: json.dumps(report)})
    return file


def _parent(folder: Path, tokenizer: Tokenizer) -> Bundle:
    """The tiny bundle with another tokenizer and a table of half-precision values for it."""
    size = tokenizer.get_vocab_size()
    rows = np.random.default_rng(1).normal(size=(size, DIMENSION)).astype(np.float16)
    graph = onnx.load_from_string(tiny_graph())
    stored = next(each for each in graph.graph.initializer if each.name == "table")
    stored.CopyFrom(numpy_helper.from_array(rows.astype(np.float32), "table"))
    store_in_half(graph)
    return write_tiny_bundle(
        folder,
        graph=graph.SerializeToString(),
        tokenizer_json=tokenizer.to_str(),
        vocabulary_size=size,
        languages=LANGUAGES,
        tokenizer={"file": "tokenizer.json", "pad_token_id": tokenizer.token_to_id("<pad>")},
        scores={"tatoeba": 0.5},
        token_layer=TOKEN_LAYER,
    )


def _ids(bundle: Bundle, text: str) -> list[int]:
    tokenizer = Tokenizer.from_file(str(bundle.file("tokenizer.json")))
    ids: list[int] = tokenizer.encode(text).ids
    return ids


def _vectors(bundle: Bundle, texts: list[str], row: int) -> NDArray[np.float32]:
    """Each text alone, without padding."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(bundle.graph()), options, providers=["CPUExecutionProvider"]
    )
    vectors = []
    for text in texts:
        ids = np.array([_ids(bundle, text)], dtype=np.int64)
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        vectors.append(session.run(["embedding"], {**feed, "adapter_ids": np.array([row])})[0][0])
    return np.stack(vectors)


KINDS = pytest.mark.parametrize(
    "make", [word_piece, byte_level_bpe, unigram], ids=lambda make: make.__name__
)


@KINDS
def test_kept_languages_have_their_vectors_to_the_last_bit_and_others_change(
    make: Callable[[], Tokenizer], table: Path, tmp_path: Path
) -> None:
    parent = _parent(tmp_path / "parent", make())
    trimmed = trim(parent.path, table, tmp_path / "small", "small", "2.0.0", OPTIONS)
    child = Bundle.open(tmp_path / "small")
    texts = {
        language: [sentence(language, number, length) for number in range(8) for length in (2, 6)]
        for language in LANGUAGES
    }
    for row in range(4):
        for language in ("en", "de"):
            before = _vectors(parent, texts[language], row)
            assert _vectors(child, texts[language], row).tobytes() == before.tobytes()
    assert np.abs(_vectors(parent, texts["ko"], 0) - _vectors(child, texts["ko"], 0)).max() > 0.01

    costs = {cost.language: cost for cost in trimmed.costs}
    assert [cost.kept for cost in trimmed.costs] == [True, True, False, False]
    for language in ("en", "de"):
        assert costs[language].alike == 1.0
        assert costs[language].cosine_lowest > 1 - 1e-6
    assert costs["ko"].alike == 0.0
    assert costs["ko"].cosine_lowest <= costs["ko"].cosine_mean < 0.999
    assert trimmed.coverage == {"en": 1.0, "de": 1.0}
    assert trimmed.bytes_after < trimmed.bytes_before
    assert trimmed.tokens_after == sum(trimmed.kept.values()) < trimmed.tokens_before


@KINDS
def test_the_bundle_says_what_it_is_and_where_it_comes_from(
    make: Callable[[], Tokenizer], table: Path, tmp_path: Path
) -> None:
    parent = _parent(tmp_path / "parent", make())
    trimmed = trim(parent.path, table, tmp_path / "small", "small", "2.0.0", OPTIONS)
    child = Bundle.open(tmp_path / "small")
    manifest = child.manifest
    assert (manifest.name, manifest.version) == ("small", "2.0.0")
    assert manifest.languages == ("en", "de")
    assert manifest.vocabulary_size == trimmed.tokens_after
    assert manifest.scores == {}
    assert manifest.token_layer == TokenLayer(layer=1, layers=1, measured=None)
    assert manifest.adapters == parent.manifest.adapters
    origin = manifest.provenance["trimmed_from"]
    assert origin["manifest_sha256"] == sha256_of(parent.path / "manifest.json")
    assert manifest.provenance["parent"] == parent.manifest.provenance
    assert manifest.provenance["corpus_rows"] == {"made": 3600}
    assert len(manifest.provenance["cost"]) == 4
    card = (tmp_path / "small" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "| de | yes |" in card
    assert "A toy for tests." in card

    # The table holds the rows of the tokens kept, found by their names, and nothing else.
    graphs = [onnx.load(str(bundle.graph())).graph for bundle in (parent, child)]
    rows = [
        numpy_helper.to_array(next(t for t in graph.initializer if "table" in t.name))
        for graph in graphs
    ]
    tokenizers = [
        Tokenizer.from_file(str(folder / "tokenizer.json"))
        for folder in (parent.path, tmp_path / "small")
    ]
    assert rows[1].dtype == np.float16
    assert rows[1].shape == (manifest.vocabulary_size, DIMENSION)
    for token, number in tokenizers[1].get_vocab().items():
        assert np.array_equal(rows[1][number], rows[0][tokenizers[0].token_to_id(token)])
    padding = manifest.tokenizer.pad_token_id
    assert tokenizers[1].id_to_token(padding) == "<pad>"


def test_the_cost_is_what_a_count_by_hand_finds(table: Path, tmp_path: Path) -> None:
    parent = _parent(tmp_path / "parent", word_piece())
    # Half the occurrences: many words fall to pieces or to the unknown token.
    options = replace(OPTIONS, coverage=0.5, sample=1000)
    trimmed = trim(parent.path, table, tmp_path / "small", "small", "2.0.0", options)
    child = Bundle.open(tmp_path / "small")
    assert all(0.5 <= share < 0.8 for share in trimmed.coverage.values())
    for cost in trimmed.costs:
        texts = {
            (granularity, sentence(cost.language, number, length))
            for granularity, length in (("phrase", 2), ("sentence", 6), ("paragraph", 12))
            for number in range(300)
            if zlib.crc32(f"{granularity}.{number}".encode()) % 50 == 0
        }
        limits = {"phrase": 8, "sentence": 16, "paragraph": 32}
        alike = lengths = unknowns = 0
        cosines = []
        for granularity, text in texts:
            names = []
            for bundle in (parent, child):
                tokenizer = Tokenizer.from_file(str(bundle.file("tokenizer.json")))
                tokenizer.enable_truncation(limits[granularity])
                names.append([tokenizer.id_to_token(i) for i in tokenizer.encode(text).ids])
            alike += names[0] == names[1]
            lengths += len(names[1])
            unknowns += names[1].count("<unk>")
            if len(_ids(child, text)) <= limits[granularity] >= len(_ids(parent, text)):
                row = parent.manifest.adapter(parent.manifest.routing[granularity]).row  # type: ignore[index]
                pair = [_vectors(bundle, [text], row)[0] for bundle in (parent, child)]
                cosines.append(float(pair[0] @ pair[1]))
        assert cost.texts == len(texts)
        assert cost.alike == pytest.approx(alike / len(texts))
        assert cost.tokens_after == pytest.approx(lengths / len(texts))
        assert cost.unknown_after == pytest.approx(unknowns / lengths)
        assert cost.cosine_lowest <= min(cosines) + 1e-5
        if len(cosines) == len(texts):
            assert cost.cosine_mean == pytest.approx(np.mean(cosines), abs=1e-5)


def test_what_stands_in_the_way_is_said_before_anything_is_written(
    table: Path, tmp_path: Path
) -> None:
    parent = _parent(tmp_path / "parent", word_piece())
    out = tmp_path / "small"
    with pytest.raises(TrainingError, match="has no language xx; choose from en, de, ru, ko"):
        trim(parent.path, table, out, "n", "1.0.0", replace(OPTIONS, languages=("de", "xx")))
    silent = _parent(tmp_path / "silent", word_piece()).path
    values = json.loads((silent / "manifest.json").read_text())
    values["languages"] = ["en", "fr"]
    (silent / "manifest.json").write_text(json.dumps(values))
    with pytest.raises(TrainingError, match="has no text in fr to count"):
        trim(silent, table, out, "n", "1.0.0", replace(OPTIONS, languages=("fr",)))
    assert not out.exists()
    with pytest.raises(FileExistsError, match="never changed"):
        trim(parent.path, table, parent.path, "n", "1.0.0", OPTIONS)


def test_a_graph_that_computes_with_ids_of_special_tokens_needs_them_where_they_were(
    table: Path, tmp_path: Path
) -> None:
    tokenizer = word_piece()
    values = json.loads(tokenizer.to_str())
    # Padding at the end of the vocabulary, where no smaller one has it.
    last = max(values["model"]["vocab"].values())
    swapped = {last: 0, 0: last}
    vocab = {token: swapped.get(old, old) for token, old in values["model"]["vocab"].items()}
    values["model"]["vocab"] = vocab
    values["added_tokens"][0]["id"] = last
    moved = Tokenizer.from_str(json.dumps(values))
    parent = _parent(tmp_path / "parent", moved)
    trim(parent.path, table, tmp_path / "fine", "n", "1.0.0", OPTIONS)

    graph = onnx.load(str(parent.graph()))
    graph.graph.initializer.append(numpy_helper.from_array(np.array(last), "padding"))
    equal = onnx.helper.make_node("Equal", ["input_ids", "padding"], ["unused"])
    graph.graph.node.append(equal)
    reader = write_tiny_bundle(
        tmp_path / "reader",
        graph=graph.SerializeToString(),
        tokenizer_json=moved.to_str(),
        vocabulary_size=moved.get_vocab_size(),
        languages=LANGUAGES,
        tokenizer={"file": "tokenizer.json", "pad_token_id": last},
    )
    with pytest.raises(TrainingError, match=r"computes with token ids \(Equal\)"):
        trim(reader.path, table, tmp_path / "small", "n", "1.0.0", OPTIONS)


def test_a_bundle_is_trimmed_from_the_command_line(table: Path, tmp_path: Path) -> None:
    parent = _parent(tmp_path / "parent", unigram())
    result = CliRunner().invoke(
        program.cli,
        [
            *("--threads", "1", "trim", "--bundle", str(parent.path), "--corpus", str(table)),
            *("--languages", "en, de,en", "--out", str(tmp_path / "small"), "--name", "small"),
            *("--version", "2.0.0", "--vocabulary-size", "200", "--characters", "used"),
        ],
        catch_exceptions=False,
    )
    assert result.exit_code == 0
    manifest = Bundle.open(tmp_path / "small").manifest
    assert manifest.vocabulary_size <= 200
    assert manifest.languages == ("en", "de")
    assert manifest.provenance["vocabulary_size_asked"] == 200
    assert f"→ {manifest.vocabulary_size}" in result.stdout
    assert "| en | yes |" in result.stdout
