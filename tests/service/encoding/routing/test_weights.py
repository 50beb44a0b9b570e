"""The module of weights is what `python -m benchmarks.router --fit` writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.router.fitting import Weights, logistic_regression, weights_module
from service.encoding.routing import weights
from service.encoding.routing.scripts import Script


def test_the_module_is_as_the_fit_prints_it() -> None:
    source = Path(weights.__file__).read_text(encoding="utf-8")
    shipped = Weights(weights.SENTENCE_WEIGHTS, weights.SEVERAL_WEIGHTS)
    assert weights_module(shipped) == source


def test_every_script_has_weights() -> None:
    assert list(weights.SENTENCE_WEIGHTS) == list(Script)


def test_the_fit_is_where_the_penalised_likelihood_is_flat() -> None:
    shown = [["a"], ["a"], ["a", "b"], ["b"], [], []]
    positive, weight = [True, True, False, False, True, False], [1.0, 2.0, 1.0, 1.0, 3.0, 1.0]
    fitted = logistic_regression(shown, positive, weight)

    def loss(bias: float, a: float, b: float) -> float:
        total = (bias**2 + a**2 + b**2) / 2
        for names, label, times in zip(shown, positive, weight, strict=True):
            odds = bias + a * ("a" in names) + b * ("b" in names)
            total += times * float(np.logaddexp(0, -odds if label else odds))
        return total

    best = loss(fitted["bias"], fitted["a"], fitted["b"])
    for step in np.ndindex(3, 3, 3):
        bias, a, b = (np.array(step) - 1) * 0.05
        assert best <= loss(fitted["bias"] + bias, fitted["a"] + a, fitted["b"] + b)
