from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from training import metrics
from training.metrics import MetricsLog, plot, read_metrics


def test_lines_past_the_checkpoint_and_half_lines_go(tmp_path: Path) -> None:
    with MetricsLog.open(tmp_path, 0) as log:
        for step in range(5):
            log.write({"step": step, "loss": 5.0 - step})
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(file.read_bytes() + b'{"step": 5, "lo')
    with MetricsLog.open(tmp_path, 3) as log:
        log.write({"step": 3, "loss": 0.5})
    assert [(line["step"], line["loss"]) for line in read_metrics(file)] == [
        *((0, 5.0), (1, 4.0), (2, 3.0), (3, 0.5))
    ]
    assert file.read_text().splitlines()[-1] == json.dumps({"step": 3, "loss": 0.5})


def test_a_line_is_readable_before_the_log_is_closed(tmp_path: Path) -> None:
    with MetricsLog.open(tmp_path, 0) as log:
        log.write({"step": 0, "loss": 1.0})
        assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 0, "loss": 1.0}]


def test_the_curves_are_redrawn_while_it_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MetricsLog.open(tmp_path, 0) as log:
        log.write({"step": 0, "loss": 1.0})
        assert not (tmp_path / "metrics.svg").exists()
        monkeypatch.setattr(metrics, "PLOT_EVERY_S", -1.0)
        log.write({"step": 1, "loss": 1.0})
        assert (tmp_path / "metrics.svg").read_text().rstrip().endswith("</svg>")


def test_losses_and_validation_scores_are_drawn_apart() -> None:
    history = [{"step": step, "loss": 4000.0 - step, "rate": 1.0} for step in range(4000)]
    history[0] |= {"validation_loss": 7.0, "validation_accuracy": 0.25}
    history.append({"step": 4000, "validation_loss": 6.0, "validation_accuracy": 0.5})
    upper, lower = plot(history, "sentence").axes
    assert [text.get_text() for text in upper.get_legend().get_texts()] == [  # type: ignore[union-attr]
        *("loss", "validation_loss")
    ]
    (accuracy,) = lower.get_lines()
    assert np.asarray(accuracy.get_xydata()).tolist() == [[0, 0.25], [4000, 0.5]]
    raw, smooth, held_out = upper.get_lines()
    assert np.asarray(held_out.get_xydata()).tolist() == [[0, 7], [4000, 6]]
    # A straight line stays one, thinned and smoothed, but for its ends.
    for line in (raw, smooth):
        x, y = np.asarray(line.get_xydata())[50:-50].T
        np.testing.assert_allclose(x + y, 4000)
        assert 500 < len(np.asarray(line.get_xydata())) <= 1000
