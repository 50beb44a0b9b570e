"""The bundle that a newcomer gets: whole, small enough, and as its card says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.bundle import DEFAULT_BUNDLE, Bundle
from service.alignment.matching import align_one_to_one
from service.encoding.encoder import Encoder, Unit
from training.evaluation.tasks import TASKS

ROOT = Path(__file__).parents[2]
ENGLISH = (
    "The library opens at nine in the morning.",
    "My brother bought a red bicycle.",
    "The president signed the agreement in Paris.",
    "Water boils at one hundred degrees.",
)
# Of the English texts, in the order 2, 3, 1, 0.
TRANSLATIONS = {
    "de": (
        "Der Präsident unterzeichnete das Abkommen in Paris.",
        "Wasser kocht bei hundert Grad.",
        "Mein Bruder kaufte ein rotes Fahrrad.",
        "Die Bibliothek öffnet um neun Uhr morgens.",
    ),
    "ja": (
        "大統領はパリで協定に署名した。",
        "水は百度で沸騰する。",
        "兄は赤い自転車を買った。",
        "図書館は朝九時に開きます。",
    ),
    "ar": (
        "وقع الرئيس الاتفاق في باريس.",
        "يغلي الماء عند مئة درجة.",
        "اشترى أخي دراجة حمراء.",
        "تفتح المكتبة في الساعة التاسعة صباحا.",
    ),
    "ru": (
        "Президент подписал соглашение в Париже.",
        "Вода кипит при ста градусах.",
        "Мой брат купил красный велосипед.",
        "Библиотека открывается в девять часов утра.",
    ),
}


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.open(DEFAULT_BUNDLE, threads=1)


def test_it_is_whole_and_under_its_size() -> None:
    bundle = Bundle.open(DEFAULT_BUNDLE)
    files = [file for file in DEFAULT_BUNDLE.iterdir() if file.is_file()]
    assert max(file.stat().st_size for file in files) <= 95_000_000
    assert sum(file.stat().st_size for file in files) <= 130_000_000
    assert bundle.manifest.provenance["parity_max_abs_error"] <= 1e-5


@pytest.mark.parametrize("page", ["models/polygrain-mini/MODEL_CARD.md", "README.md"])
def test_its_card_and_the_readme_show_the_scores_of_its_manifest(page: str) -> None:
    scores = Bundle.open(DEFAULT_BUNDLE).manifest.scores
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    systems = list(scores["adapter_by_task"])
    for task in scores["figures"]:
        row = [scores["adapter_by_task"][system].get(task) for system in systems]
        shown = [f"{value:.1f}" if value is not None else "" for value in row]
        label = TASKS[task].title
        found = [line for line in lines if line.startswith(f"| {label}, {TASKS[task].main.label}")]
        assert found, f"{page} has no row for {task}"
        cells = [cell.strip().strip("*") for cell in found[0].strip("|").split("|")]
        assert cells[1:] == shown


def test_a_text_has_one_vector_whoever_shares_its_batch(encoder: Encoder) -> None:
    lengths = (1, 3, 8, 20, 60, 150, 400)
    words = ["bridge", "Haus", "maison", "дом", "家", "สะพาน", "جسر", "the", "of", "and"]
    texts = [
        " ".join(words[(number * 3 + place) % len(words)] for place in range(lengths[number % 7]))
        for number in range(100)
    ]
    together = encoder.encode([Unit(text, "text") for text in texts])
    assert {fact.granularity for fact in together.facts} == {"phrase", "sentence", "paragraph"}
    for text, vector in zip(texts, together.vectors, strict=True):
        (alone,) = encoder.encode([Unit(text, "text")]).vectors
        assert float(alone @ vector) >= 0.9999
        np.testing.assert_allclose(np.linalg.norm(vector), 1, atol=1e-5)


@pytest.mark.parametrize(("language", "texts"), TRANSLATIONS.items())
def test_it_aligns_other_languages_with_english(
    encoder: Encoder, language: str, texts: tuple[str, ...]
) -> None:
    vectors = encoder.encode([Unit(text, "text") for text in (*ENGLISH, *texts)]).vectors
    alignment = align_one_to_one(vectors[:4], vectors[4:])
    found = {pair.source: pair.target for pair in alignment.pairs}
    assert found == {0: 3, 1: 2, 2: 0, 3: 1}
