"""End-to-end tests train on the tiny encoder and corpus."""

from tests.tiny_training import bert_folder, corpus, corpus_folder, evaluation_folder

__all__ = ["bert_folder", "corpus", "corpus_folder", "evaluation_folder"]
