"""Texts per second and memory of training, per objective, beside sentence-transformers' trainer.

    python -m benchmarks.training_speed --backbone FOLDER --peer-python PYTHON [--corpus TABLE]

docs/training.md says how to make the peer's environment. Each measurement is a process of its own:

cases.py         what is measured, and what its counterpart there is
pairs.py         the pairs that both sides draw their batches from
side.py          a job and a measurement, as files between the processes; clock and memory
ours.py          our stage, as `polygrain-train adapters` trains it
peer.py          the same model, batches and loss in SentenceTransformerTrainer
alternation.py   the sides in turn, and a refusal where they do not train the same
report.py        the tables
"""
