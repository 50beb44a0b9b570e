"""End-to-end tests train on the tiny encoders and corpus."""

from tests.tiny_training import (
    bert_folder,
    corpus,
    corpus_folder,
    evaluation_folder,
    made_student_folder,
    student_folder,
)

__all__ = [
    "bert_folder",
    "corpus",
    "corpus_folder",
    "evaluation_folder",
    "made_student_folder",
    "student_folder",
]
