"""Adapters on a frozen backbone: attach, select, read and write, stack into one gathered set.

kinds.py       what a recipe may ask for
attach.py      fresh adapters on a model, and the choice among them
projection.py  the kind that AdapterHub has not: a head on the pooled vector
weights.py     an adapter's weights: found, set, in a file, averaged
stack.py       all adapters as one, each row with its own, for export
"""

from training.adapters.attach import attach, attach_kinds, select
from training.adapters.stack import GatheredLinear, Selection, stack
from training.adapters.weights import average, load, load_weights, parameters, save, weights

__all__ = [
    "GatheredLinear",
    "Selection",
    "attach",
    "attach_kinds",
    "average",
    "load",
    "load_weights",
    "parameters",
    "save",
    "select",
    "stack",
    "weights",
]
