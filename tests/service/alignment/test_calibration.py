from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bundle import Bundle, BundleError, Granularity
from service.alignment.calibration import Calibration
from service.alignment.scoring import Score
from tests.tiny_bundle import write_tiny_bundle

# Log-odds -2 at 0.2 and below, 0 at 0.5, 3 at 0.9 and above; for English and French half of it
# and one more.
TABLE: dict[str, Any] = {
    "version": 1,
    "prior": 0.5,
    "pool": 300,
    "neighbours": 4,
    "granularities": {
        "sentence": {
            "adapter": "sentence",
            "curves": {
                "cosine": {
                    "scores": [0.2, 0.5, 0.9],
                    "log_odds": [-2.0, 0.0, 3.0],
                    "pairs": {"en fr": {"offset": 1.0, "slope": 0.5}},
                    "error": 0.01,
                    "error_of_pair": 0.02,
                    "error_of_unseen_pair": None,
                }
            },
            "texts": {"fr": 100},
        }
    },
}
WHAT: dict[str, Any] = {"score": Score.COSINE, "granularity": Granularity.SENTENCE}


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Calibration:
    bundle = write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny", calibration=TABLE)
    return Calibration.of(bundle.manifest)


def _share(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))


def test_probabilities_follow_the_curve_and_stay_level_beyond(calibrated: Calibration) -> None:
    scores = np.array([-1.0, 0.2, 0.35, 0.5, 0.7, 0.9, 7.0], np.float32)
    found = calibrated.probabilities(scores, **WHAT)
    expected = [_share(each) for each in (-2, -2, -1, 0, 1.5, 3, 3)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("languages", [("en", "fr"), ("fr", "en")])
def test_a_known_pair_has_its_own_in_either_order(
    calibrated: Calibration, languages: tuple[str, str]
) -> None:
    found = calibrated.probabilities(np.array([0.2, 0.9], np.float32), languages=languages, **WHAT)
    np.testing.assert_allclose(found, [_share(0), _share(2.5)], rtol=1e-5)


def test_an_unknown_pair_falls_back_to_the_granularity(calibrated: Calibration) -> None:
    scores = np.array([0.3, 0.6], np.float32)
    np.testing.assert_array_equal(
        calibrated.probabilities(scores, languages=("de", "sw"), **WHAT),
        calibrated.probabilities(scores, **WHAT),
    )


def test_nothing_is_made_up(calibrated: Calibration, tiny_bundle: Bundle) -> None:
    scores = np.array([0.5], np.float32)
    never = Calibration.of(tiny_bundle.manifest)
    assert never.probabilities(scores, **WHAT) is None
    assert never.threshold(0.5, **WHAT) is None
    for other in (
        {**WHAT, "score": Score.MARGIN_RATIO},
        {**WHAT, "granularity": Granularity.PHRASE},
    ):
        assert calibrated.probabilities(scores, **other) is None
        assert calibrated.threshold(0.5, **other) is None


@given(st.floats(0.0, 1.0), st.sampled_from([None, ("en", "fr")]))
def test_the_threshold_parts_the_scores_by_their_probability(
    calibrated: Calibration, probability: float, languages: tuple[str, str] | None
) -> None:
    threshold = calibrated.threshold(probability, languages=languages, **WHAT)
    assert threshold is not None
    scores = np.linspace(-0.5, 1.5, 401, dtype=np.float32)
    found = calibrated.probabilities(scores, languages=languages, **WHAT)
    assert found is not None
    accepted = scores >= threshold
    assert (found[accepted] >= probability - 1e-4).all()
    assert (found[~accepted] <= probability + 1e-4).all()


def test_a_threshold_nobody_reaches_and_one_that_all_do(calibrated: Calibration) -> None:
    assert calibrated.threshold(0.99, **WHAT) == math.inf
    assert calibrated.threshold(1.0, **WHAT) == math.inf
    assert calibrated.threshold(0.01, **WHAT) == -math.inf
    assert calibrated.threshold(0.5, **WHAT) == pytest.approx(0.5)


def _with(path: str, value: object) -> dict[str, Any]:
    table = copy.deepcopy(TABLE)
    *parents, last = path.split("/")
    inner = table
    for name in parents:
        inner = inner[name]
    inner[last] = value
    return table


_COSINE = "granularities/sentence/curves/cosine"


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({}, "calibration.version: Field required"),
        (_with("version", 2), "calibration.version: Input should be 1"),
        (_with("prior", "half"), "calibration.prior: Input should be a valid number"),
        (_with(f"{_COSINE}/scores", [0.5, 0.2, 0.9]), "scores do not rise"),
        (_with(f"{_COSINE}/log_odds", [0.0, 0.0, -1.0]), "log_odds fall"),
        (_with(f"{_COSINE}/log_odds", [0.0, 1.0]), "3 scores and 2 log_odds"),
        (_with(f"{_COSINE}/pairs", {"fr en": {"offset": 0.0, "slope": 1.0}}), "alphabetical"),
        (_with(f"{_COSINE}/pairs", {"en fr": {"offset": 0.0, "slope": 0.0}}), "greater than 0"),
        (_with("granularities/sentence/adapter", "phrase"), "calibrate the bundle again"),
        (_with("granularities/sentence/more", 1), "Extra inputs are not permitted"),
    ],
)
def test_a_malformed_calibration_is_refused_in_one_line(
    tmp_path: Path, table: dict[str, Any], reason: str
) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny", calibration=table)
    with pytest.raises(BundleError) as caught:
        Calibration.of(bundle.manifest)
    message = str(caught.value)
    assert message.startswith("bundle tiny 0.1.0: calibration")
    assert reason in message
    assert "\n" not in message
