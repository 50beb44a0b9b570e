"""Training: corpora, a frozen backbone with adapters, objectives, evaluation, export."""
