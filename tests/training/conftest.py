"""Tests of training share the tiny encoders, corpus and test sets."""

from tests.tiny_training import (
    bert_folder,
    corpus,
    corpus_folder,
    entity_table,
    evaluation_folder,
    made_student_folder,
    student_folder,
    write_recipe,
    xlmr_folder,
)

__all__ = [
    "bert_folder",
    "corpus",
    "corpus_folder",
    "entity_table",
    "evaluation_folder",
    "made_student_folder",
    "student_folder",
    "write_recipe",
    "xlmr_folder",
]
