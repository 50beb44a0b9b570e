"""Fits the router's weights, and writes them as `service/encoding/routing/weights.py` has them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.router.rows import Row, without_final_mark
from benchmarks.router.sources import PARAGRAPH, PHRASE, SENTENCE
from service.encoding.routing.markless import sentence_features, several_features
from service.encoding.routing.scripts import Script, script_of

FIT_ROWS_PER_CLASS = 2500


def logistic_regression(
    shown: Sequence[Iterable[str]], positive: Sequence[bool], weight: Sequence[float]
) -> dict[str, float]:
    """Weights of named binary features and a "bias", by Newton's method with an L2 penalty of 1."""
    names = ["bias", *sorted({name for row in shown for name in row})]
    column = {name: index for index, name in enumerate(names)}
    x = np.zeros((len(shown), len(names)))
    x[:, 0] = 1.0
    for index, row in enumerate(shown):
        x[index, [column[name] for name in row]] = 1.0
    y, w = np.asarray(positive, float), np.asarray(weight, float)
    beta = np.zeros(len(names))
    for _ in range(30):
        p = 1.0 / (1.0 + np.exp(-x @ beta))
        gradient = x.T @ (w * (y - p)) - beta
        hessian = (x * (w * p * (1.0 - p))[:, None]).T @ x + np.eye(len(names))
        beta += np.linalg.solve(hessian, gradient)
    return {name: round(float(value), 2) for name, value in zip(names, beta, strict=True)}


# A text without a final mark is a phrase more often than a sentence that lost its mark, except
# where sentences have none.
PHRASES_PER_SENTENCE = 3.0


def _even_weights(rows: Sequence[Row], phrases_per_sentence: float = 1.0) -> list[float]:
    """A weight per row that lets the classes of every language count in the ratio given."""
    counts = Counter((row.language, row.label) for row in rows)
    ratio = {PHRASE: phrases_per_sentence}
    return [1000.0 * ratio.get(row.label, 1.0) / counts[row.language, row.label] for row in rows]


@dataclass(frozen=True, slots=True)
class Weights:
    """Log-odds per feature: for a sentence, by script, and for several of Thai or Lao."""

    sentence: Mapping[Script, Mapping[str, float]]
    several: Mapping[str, float]


def fit_weights(rows: Sequence[Row]) -> Weights:
    """The router's weights, fitted on `rows`."""
    by_script: dict[Script, list[Row]] = defaultdict(list)
    for row in without_final_mark(rows):
        by_script[script_of(row.text)].append(row)
    sentence = {
        script: logistic_regression(
            [sentence_features(row.text, script) for row in by_script[script]],
            [row.label is SENTENCE for row in by_script[script]],
            _even_weights(
                by_script[script], 1.0 if script is Script.SOUTHEAST else PHRASES_PER_SENTENCE
            ),
        )
        for script in Script
    }
    thai = [row for row in rows if row.language == "th" and row.label is not PHRASE]
    several = logistic_regression(
        [several_features(row.text) for row in thai],
        [row.label is PARAGRAPH for row in thai],
        _even_weights(thai),
    )
    return Weights(sentence, several)


_HEADER = '''\
"""The fitted weights of `markless`; `python -m benchmarks.router --data DATA --fit` prints this."""

from __future__ import annotations

from service.encoding.routing.scripts import Script
'''


def weights_module(weights: Weights) -> str:
    """The source of `service/encoding/routing/weights.py` with `weights` in it."""
    lines = [_HEADER, "# Log-odds for a sentence against a phrase."]
    lines.append("SENTENCE_WEIGHTS: dict[Script, dict[str, float]] = {")
    for script, table in weights.sentence.items():
        lines += [f"    Script.{script.name}: {{", *_entries(table, " " * 8), "    },"]
    lines += ["}", "", "# Log-odds for more than one sentence of Thai or Lao against one."]
    lines.append("SEVERAL_WEIGHTS: dict[str, float] = {")
    return "\n".join([*lines, *_entries(weights.several, " " * 4), "}", ""])


def _entries(table: Mapping[str, float], indent: str) -> list[str]:
    return [f'{indent}"{name}": {value!r},' for name, value in table.items()]
