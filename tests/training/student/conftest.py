"""A tiny corpus table with a report, its vocabulary and its tokens."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

from tests.tiny_training import LANGUAGES
from training.corpora.table import FORMAT_VERSION, REPORT_KEY
from training.student.tokens import TokenizedCorpus, tokenize
from training.student.vocabulary import balanced_texts, train_vocabulary

VOCABULARY = 400


@pytest.fixture(scope="session")
def clean_table(entity_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The entity table, as a build would have written it that kept test sets out."""
    file = tmp_path_factory.mktemp("clean") / "corpus.parquet"
    report = json.dumps({"format_version": FORMAT_VERSION, "evaluation_fingerprints": 1})
    pq.write_table(pq.read_table(entity_table).replace_schema_metadata({REPORT_KEY: report}), file)
    return file


@pytest.fixture(scope="session")
def tokenizer(clean_table: Path) -> Tokenizer:
    texts = balanced_texts(clean_table, dict.fromkeys(("en", *LANGUAGES), 4000), {}, seed=1)
    return train_vocabulary(texts, VOCABULARY)


@pytest.fixture(scope="session")
def tokens(
    clean_table: Path, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> TokenizedCorpus:
    folder = tmp_path_factory.mktemp("tokens")
    return tokenize(clean_table, tokenizer, LANGUAGES, 12, folder)
