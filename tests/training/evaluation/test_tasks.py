from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.tiny_training import PAIRS_HEADER, write_xz
from training.errors import TrainingError
from training.evaluation import tasks
from training.evaluation.tasks import TATOEBA_LANGUAGES, Scores

unit = arrays(np.float32, (7, 3), elements=st.floats(-1, 1, width=32).map(lambda x: round(x, 1)))


@given(queries=unit, targets=unit, gold=arrays(np.int64, 7, elements=st.integers(0, 6)))
def test_rank_counts_every_target_that_is_as_near_as_the_gold_one(
    queries: np.ndarray, targets: np.ndarray, gold: np.ndarray
) -> None:
    found = tasks.ranks(queries, targets, gold)
    # The oracle sees the same float32 products, so that it sees the same ties.
    cosines = queries @ targets.T
    for i in range(7):
        assert found[i] == sum(cosines[i, k] >= cosines[i, gold[i]] for k in range(7))


def test_ranks_are_the_same_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    queries, targets = (rng.normal(size=(50, 8)).astype(np.float32) for _ in range(2))
    gold = rng.permutation(50)
    whole = tasks.ranks(queries, targets, gold)
    monkeypatch.setattr(tasks, "_BLOCK_ROWS", 7)
    np.testing.assert_array_equal(tasks.ranks(queries, targets, gold), whole)


def _one_hot(texts: list[str]) -> np.ndarray:
    """A vector per distinct number in a text: texts of one number are translations."""
    vectors = np.zeros((len(texts), 64), dtype=np.float32)
    for row, text in enumerate(texts):
        vectors[row, int(text.split()[-1])] = 1
    return vectors


def test_tatoeba_is_the_mean_of_both_directions(tmp_path: Path) -> None:
    rows: list[tuple[str, ...]] = [PAIRS_HEADER]
    for code in TATOEBA_LANGUAGES.values():
        # In every language, one of four translations names the wrong number.
        for number, other in ((0, 0), (1, 1), (2, 2), (3, 2)):
            row = ("t", "sentence", f"{code}.{number}", "en", code)
            rows.append((*row, f"english {number}", f"{code} {other}"))
    write_xz(tmp_path / "tatoeba.pairs.tsv.xz", rows)
    scores = tasks.tatoeba(tmp_path, _one_hot)
    assert set(scores) == set(TATOEBA_LANGUAGES)
    # en → xx: 0 and 1 are found; 2 has a twin and 3 has nothing. xx → en: 0, 1 and 2.
    assert scores["fr"] == pytest.approx(100 * (2 / 4 + 3 / 4) / 2)
    write_xz(tmp_path / "tatoeba.pairs.tsv.xz", rows[:-4])
    with pytest.raises(TrainingError, match="no rows of"):
        tasks.tatoeba(tmp_path, _one_hot)


def test_paragraphs_are_searched_among_all_english_ones(tmp_path: Path) -> None:
    rows = [("id", "lang", "text")]
    rows += [(f"p{n}", "en", f"english {n}") for n in range(4)]
    rows += [(f"p{n}", "de", f"deutsch {n}") for n in range(4)]
    rows += [("p0", "fr", "français 0"), ("p1", "fr", "français 3")]
    write_xz(tmp_path / "xquad_contexts.paragraph.wide.tsv.xz", rows)
    scores: Scores = tasks.aligned_paragraphs(tmp_path, _one_hot)
    assert scores == {"de": 100.0, "fr": 50.0}


def test_entity_names_use_the_test_split_alone(tmp_path: Path) -> None:
    header = ("split", "id1", "id2", "uri1", "uri2", "name1", "name2")
    rows = [
        header,
        ("train", "1", "2", "u", "u", "nom 9", "name 0"),
        ("test", "1", "2", "u", "u", "nom 1", "name 1"),
        ("test", "1", "2", "u", "u", "nom 2", "name 3"),
        ("test", "1", "2", "u", "u", 'n"om 4', "name 4"),
    ]
    for language in ("fr", "ja", "zh"):
        write_xz(tmp_path / f"dbp15k_{language}_en.links.tsv.xz", rows)
    scores = tasks.entity_names(tmp_path, _one_hot)
    assert scores == pytest.approx(dict.fromkeys(("fr", "ja", "zh"), 200 / 3))


@pytest.mark.parametrize("task", tasks.TASKS, ids=lambda task: task.granularity)
def test_a_missing_test_set_is_named(task: tasks.Task, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"has no \w+\.\w+"):
        task.score(tmp_path, _one_hot)
