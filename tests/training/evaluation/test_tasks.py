"""Each task on tiny test sets, with figures worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.bundle import Granularity
from tests.tiny_training import write_xz
from tests.training.evaluation.eval_sets import (
    FakeEncoder,
    Vectorizer,
    meaning,
    one_hot,
    write_all,
    write_tatoeba,
)
from training.errors import TrainingError
from training.evaluation.languages import CORE, Languages
from training.evaluation.reading import Space, VectorCache
from training.evaluation.task import Scored, Task
from training.evaluation.tasks import TASKS, dbp15k, sts, tatoeba, word_alignment
from training.evaluation.tasks.sts import NINE

ALL = Languages(None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(tmp_path_factory.mktemp("eval"))


def _score(task: Task, folder: Path, languages: Languages = ALL, able: bool = True) -> Scored:
    encoder = FakeEncoder(frozenset({"any"}) if able else frozenset())
    test_set = task.load(folder, languages)
    cache = VectorCache(encoder, 1 << 20)
    return test_set.score(
        Space.encode(encoder, cache, dict.fromkeys(Granularity, "any"), test_set.texts)
    )


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_perfect_vectors_get_everything_right(task: Task, folder: Path) -> None:
    scored = _score(task, folder)
    assert set(scored.by_language) == set(task.load(folder, ALL).languages)
    for figures in scored.by_language.values():
        assert list(figures) == [figure.name for figure in task.figures]
        for figure in task.figures:
            assert figures[figure.name] == pytest.approx(0 if figure.lower_is_better else 100)


# The two English pairs of the tiny STS set may fall into the right order by chance.
@pytest.mark.parametrize("name", sorted(set(TASKS) - {"word-alignment", "sts-english"}))
def test_vectors_that_know_no_meaning_do_worse(name: str, folder: Path) -> None:
    task = TASKS[name]
    by_language = _score(task, folder, able=False).by_language.values()
    mean = np.mean([figures[task.main.name] for figures in by_language])
    assert mean > 30 if task.main.lower_is_better else mean < 95


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_what_is_scored_is_what_was_announced(task: Task, folder: Path) -> None:
    """Every text that `score` asks for is among `texts`, and the other way round."""
    test_set = task.load(folder, ALL)
    reader = Vectorizer(lambda text: meaning("x 1"))
    test_set.score(reader)
    if task.needs_tokens:
        words = {text for _, text in reader.asked}
        assert words == {word for each in test_set.texts[Granularity.WORD] for word in each.split()}
    else:
        announced = {(kind, text) for kind, texts in test_set.texts.items() for text in texts}
        assert reader.asked == announced
        assert {kind for kind, _ in announced} == set(task.granularities)


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_a_missing_test_set_is_named(task: Task, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"has no .*; put \w+ there, or leave .* --tasks"):
        task.load(tmp_path, ALL)


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_only_the_languages_chosen_are_scored(task: Task, folder: Path) -> None:
    every = set(task.load(folder, ALL).languages)
    chosen = set(task.load(folder, Languages.parse(["de"])).languages)
    assert chosen <= {"de", "en"} & every
    assert ("de" in chosen) == ("de" in every)


def test_tatoeba_and_xsim_by_hand(tmp_path: Path) -> None:
    # One of the four translations says another number.
    pairs = ((0, 0), (1, 1), (2, 2), (3, 2))
    write_tatoeba(tmp_path, [("fra", f"english {a}", f"texte {b}") for a, b in pairs])
    figures = _by_hand(tatoeba.ACCURACY, tmp_path)["fr"]
    # en→xx: 0 and 1 are found; 2 has a twin, 3 has nothing. xx→en: 0, 1 and one text of 2.
    assert figures["en_to_xx"] == pytest.approx(50)
    assert figures["xx_to_en"] == pytest.approx(75)
    assert figures["accuracy"] == pytest.approx(62.5)
    figures = _by_hand(tatoeba.XSIM, tmp_path)["fr"]
    assert figures["en_to_xx"] == pytest.approx(50)
    assert figures["xx_to_en"] == pytest.approx(25)
    assert figures["error"] == pytest.approx(37.5)
    assert _by_hand(tatoeba.MEXA, tmp_path)["fr"]["mexa"] == pytest.approx(50)


def _by_hand(task: Task, folder: Path) -> dict[str, dict[str, float]]:
    scored = task.load(folder, ALL).score(Vectorizer(one_hot))
    return {language: dict(figures) for language, figures in scored.by_language.items()}


def test_entity_names_by_hand_on_the_test_split_alone(tmp_path: Path) -> None:
    rows = [
        dbp15k.COLUMNS,
        ("train", "1", "2", "u", "u", "nom 9", "name 0"),
        ("test", "1", "2", "u", "u", "nom 1", "name 1"),
        ("test", "1", "2", "u", "u", "nom 2", "name 3"),
        ("test", "1", "2", "u", "u", 'n"om 4', "name 4"),
        ("test", "1", "2", "u", "u", "nom 5", "name 5"),
        ("test", "1", "2", "u", "u", "nom 6", "name 5"),
    ]
    for language in dbp15k.LANGUAGES:
        write_xz(tmp_path / f"dbp15k_{language}_en.links.tsv.xz", rows)
    figures = _by_hand(dbp15k.TASK, tmp_path)
    assert set(figures) == {"fr", "ja", "zh"}
    # Ranks, ties against: 1, 5 (all are as far), 1, 2 (its name stands twice), 5.
    assert figures["ja"] == pytest.approx(
        {
            "hit_at_1": 40,
            "hit_at_5": 100,
            "hit_at_10": 100,
            "mrr": 100 * (1 + 1 / 5 + 1 + 1 / 2 + 1 / 5) / 5,
            "legacy_hit_at_1": 60,
        }
    )


def test_english_similarity_is_told_apart_from_the_others(folder: Path) -> None:
    assert list(TASKS["sts-english"].load(folder, ALL).languages) == ["en"]
    assert set(TASKS["sts"].load(folder, ALL).languages) == {*NINE, "ko"}


def test_a_rating_that_is_no_number_is_named(tmp_path: Path) -> None:
    write_xz(tmp_path / sts.FILE, [sts.COLUMNS, ("dev", "en", "1", "a", "b", "high")])
    with pytest.raises(TrainingError, match="line 2: score is 'high'; expected a number"):
        TASKS["sts-english"].load(tmp_path, ALL)


def test_word_alignment_reads_links_as_they_are_numbered(folder: Path) -> None:
    found = word_alignment.load(folder, ALL)
    assert list(found.pairs) == ["de"]
    assert found.pairs["de"][0].sure == {(0, 3), (1, 2), (2, 1), (3, 0)}
    straight = Vectorizer(lambda word: one_hot(f"x {word[-1]}"))
    assert found.score(straight).by_language["de"]["aer_match"] == 0
    # Word 0 of one side taken for word 3 of the other, and so on: every link is wrong.
    wrong = Vectorizer(
        lambda word: one_hot(f"x {word[-1] if word[0] == 'e' else 3 - int(word[-1])}")
    )
    assert found.score(wrong).by_language["de"]["aer_argmax"] == 100


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"lang_a": "de", "lang_b": "fr"}', "one of them must be en"),
        ('{"lang_a": "en"}', "lang_b"),
        ("[", "line 2"),
        (
            '{"lang_a": "en", "lang_b": "de", "tokens_a": ["a"], "tokens_b": ["b"], '
            '"sure": [[0, 1]], "possible": []}',
            "link 0-1 is outside 1 and 1 words",
        ),
    ],
)
def test_a_bad_alignment_line_is_named(line: str, message: str, tmp_path: Path) -> None:
    good = (
        '{"lang_a": "en", "lang_b": "de", "tokens_a": ["a"], "tokens_b": ["b"], '
        '"sure": [[0, 0]], "possible": []}'
    )
    file = tmp_path / "word_alignment" / "bad_en-de.jsonl.xz"
    write_xz(file, [(good,), (line,)])
    with pytest.raises(TrainingError, match=message) as caught:
        word_alignment.load(tmp_path, ALL)
    assert f"{file}, line 2" in str(caught.value)


def test_the_core_is_thirty_languages_once_each() -> None:
    assert len(CORE) == len(set(CORE)) == 30
    assert "de" in Languages.parse(["core"])
    assert "af" not in Languages.parse(["core"])
    assert "af" in Languages.parse(["core", "af"])
    assert "en" in Languages.parse(["de"])
    assert "xyz" in Languages.parse(["all"])


def test_means_are_over_complete_groups_the_first_standing_for_the_task() -> None:
    task = TASKS["sts"]
    nine = {name: {"spearman": 80.0} for name in task.means[0].languages}
    means = task.all_means(nine | {"ko": {"spearman": 20.0}})
    assert list(means) == ["mean of the 9 languages", "mean of 10"]
    assert means["mean of the 9 languages"]["spearman"] == 80
    assert means["mean of 10"]["spearman"] == pytest.approx(74)
    del nine["zh"]
    assert list(task.all_means(nine)) == ["mean of 8"]
