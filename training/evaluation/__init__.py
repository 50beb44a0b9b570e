"""Evaluation of a bundle on held-out test sets, by the protocols of the published work."""
