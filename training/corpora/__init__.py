"""Corpora: from files of translations to the pairs that a training step sees."""
