"""Each task on tiny test sets, with figures worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from models.bundle import Granularity
from tests.tiny_training import write_xz
from tests.training.evaluation import eval_sets
from tests.training.evaluation.eval_sets import (
    XQUAD_LANGUAGES,
    FakeEncoder,
    meaning,
    write_all,
    write_tatoeba,
)
from training.errors import TrainingError
from training.evaluation.languages import CORE, Languages
from training.evaluation.reading import Space, VectorCache
from training.evaluation.similarity import Vectors, mine
from training.evaluation.task import Scored, Task
from training.evaluation.tasks import TASKS, dbp15k, mining, sts, tatoeba, word_alignment, xquad
from training.evaluation.tasks.names import is_name_of_one
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


class Vectorizer:
    """A reader that answers by a function of the text, and notes what it was asked."""

    def __init__(self, vector: Callable[[str], Sequence[float] | Vectors]) -> None:
        self._vector = vector
        self.asked: set[tuple[Granularity, str]] = set()

    def vectors(self, granularity: Granularity, texts: Sequence[str]) -> Vectors:
        self.asked |= {(granularity, text) for text in texts}
        return np.array([self._vector(text) for text in texts], dtype=np.float32)

    def words(self, sentences: Sequence[Sequence[str]]) -> list[Vectors]:
        return [self.vectors(Granularity.WORD, words) for words in sentences]


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


def _one_hot(text: str) -> list[float]:
    return [float(place == eval_sets.number_of(text)) for place in range(64)]


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
    scored = task.load(folder, ALL).score(Vectorizer(_one_hot))
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


def test_a_question_is_searched_in_every_other_language_alone(folder: Path) -> None:
    def vector(text: str) -> list[float]:
        # German questions lie 0.6 of the way to the next paragraph.
        angle = (eval_sets.number_of(text) + 0.6 * text.startswith("de what")) * math.pi / 40
        return [math.cos(angle), math.sin(angle)]

    scored = xquad.QUESTIONS.load(folder, ALL).score(Vectorizer(vector))
    pairs = [f"{a}→{b}" for a in XQUAD_LANGUAGES for b in XQUAD_LANGUAGES if a != b]
    assert list(scored.by_pair) == pairs
    assert scored.by_pair["ru→de"]["ndcg_at_10"] == pytest.approx(100)
    # So the right paragraph comes second, but for the last, which has no next one.
    ndcg = (11 / math.log2(3) + 1) / 12
    for other in ("en", "ru"):
        assert scored.by_pair[f"de→{other}"]["ndcg_at_10"] == pytest.approx(100 * ndcg)
        assert scored.by_pair[f"de→{other}"]["map"] == pytest.approx(100 * (11 / 2 + 1) / 12)
    assert scored.by_language["de"]["ndcg_at_10"] == pytest.approx(100 * ndcg)


def test_paragraphs_that_are_not_in_every_language_are_an_error(tmp_path: Path) -> None:
    rows = [("id", "lang", "text"), ("p0", "en", "a 0"), ("p1", "en", "b 1"), ("p0", "de", "c 0")]
    write_xz(tmp_path / xquad.PARAGRAPHS_FILE, rows)
    with pytest.raises(TrainingError, match="1 paragraphs are not in both de and en"):
        xquad.ALIGNED.load(tmp_path, ALL)
    answers = [xquad.ANSWERS_COLUMNS, ("q", "en", "p7", "what 0?", "A", "0")]
    write_xz(tmp_path / xquad.PARAGRAPHS_FILE, rows[:3])
    write_xz(tmp_path / xquad.ANSWERS_FILE, answers)
    with pytest.raises(TrainingError, match="names the en paragraph p7"):
        xquad.QUESTIONS.load(tmp_path, ALL)


POOL = ("The Rhine and Luke Kuechly.", "the rhine flows. Oxygen burns", "It ended in May 1990.")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Luke Kuechly.", True),
        ("luke Kuechly", True),
        ("Rhine", False),  # in two
        ("Kuech", False),  # no whole word
        ("Oxygen", True),
        ("oxygen", False),  # no capital
        ("May 1990", False),  # a date
        ("Thames", False),  # in none
        ("The Rhine and Luke Kuechly", True),
        ("the rhine flows. Oxygen burns", True),
        ("and Luke Kuechly. the rhine flows", False),
        ("...", False),
        ("", False),
    ],
)
def test_which_answers_are_names_of_one_paragraph(answer: str, expected: bool) -> None:
    assert is_name_of_one(answer, POOL) == expected


def test_a_name_of_six_words_is_too_long() -> None:
    assert is_name_of_one("A b c d e", ["a b c d e f"])
    assert not is_name_of_one("A b c d e f", ["a b c d e f"])


def test_names_are_chosen_by_their_english_and_asked_for_once(tmp_path: Path) -> None:
    write_xz(
        tmp_path / xquad.PARAGRAPHS_FILE,
        [
            ("id", "lang", "text"),
            ("p0", "en", "Warsaw is here"),
            ("p1", "en", "nothing"),
            ("p0", "de", "Warschau"),
            ("p1", "de", "nichts"),
        ],
    )
    rows: list[tuple[str, ...]] = [xquad.ANSWERS_COLUMNS]
    for id_, answers in {"a": ("Warsaw", "Warschau"), "b": ("Warsaw", "Warschau")}.items():
        rows += [
            (id_, language, "p0", "?", answer, "0")
            for language, answer in zip(("en", "de"), answers, strict=True)
        ]
    rows += [("c", "en", "p1", "?", "nothing", "0"), ("c", "de", "p1", "?", "Nichts", "0")]
    write_xz(tmp_path / xquad.ANSWERS_FILE, rows)
    found = xquad.load_phrases(tmp_path, ALL)
    assert found.queries == {"de": [("Warschau", "p0")], "en": [("Warsaw", "p0")]}
    # English decides even where its own row is asked for by nobody.
    german = xquad.load_phrases(tmp_path, Languages.parse(["de"]))
    assert german.queries["de"] == [("Warschau", "p0")]


def _mining_folder(folder: Path, extra: Sequence[tuple[str, str, str]] = ()) -> Path:
    german = [("deu", f"english {n}", f"deutsch {n}") for n in range(40)]
    others = [("fra", f"other {n}", f"autre {n}") for n in range(40, 60)]
    write_tatoeba(folder, [*german, *others, *extra])
    return folder


def test_mining_halves_are_disjoint_and_half_of_the_sources_are_alone(tmp_path: Path) -> None:
    dev, test = mining.load(_mining_folder(tmp_path), ALL).halves["de"]
    assert not {*dev.sources, *dev.targets} & {*test.sources, *test.targets}
    for half in (dev, test):
        assert len(half.sources) == 20
        assert len(half.gold) == 10
        assert {source for source, _ in half.gold} <= set(half.sources)
        assert {target for _, target in half.gold} <= set(half.targets)
        # Ten translations, and half of the twenty French pairs' English sides.
        assert len(half.targets) == 10 + 10


def test_a_source_that_is_to_stand_alone_never_has_a_translation_in_the_pool(
    tmp_path: Path,
) -> None:
    # Every German text shares its English with another: some meet in one half.
    rows = [("deu", f"english {n // 2}", f"deutsch {n}") for n in range(80)]
    write_tatoeba(tmp_path, rows)
    english = {other: text for _, text, other in rows}
    dropped = 0
    for half in mining.load(tmp_path, ALL).halves["de"]:
        alone = set(half.sources) - {source for source, _ in half.gold}
        assert not {english[source] for source in alone} & set(half.targets)
        dropped += 40 - len(half.sources)
    assert dropped > 0


def test_mining_does_not_depend_on_the_choice_or_order_of_the_rows(tmp_path: Path) -> None:
    whole = mining.load(_mining_folder(tmp_path), ALL).halves["de"]
    assert mining.load(tmp_path, Languages.parse(["de"])).halves["de"] == whole
    file = tmp_path / "tatoeba.pairs.tsv.xz"
    german = tatoeba.read(tmp_path, ALL)["de"]
    pairs = list(zip(german.english, german.other, strict=True))
    others = [("fra", f"other {n}", f"autre {n}") for n in range(59, 39, -1)]
    file.unlink()
    write_tatoeba(tmp_path, [*others, *(("deu", a, b) for a, b in reversed(pairs))])
    assert mining.load(tmp_path, ALL).halves["de"] == whole


def _half(first: int, gold: int) -> mining.Half:
    """Ten sources of which `gold` have their translation among ten targets."""
    sources = [f"source {first + number}" for number in range(10)]
    targets = [f"target {first + number + 50 * (number >= gold)}" for number in range(10)]
    return mining.Half(sources, targets, frozenset(list(zip(sources, targets, strict=True))[:gold]))


@pytest.mark.parametrize(
    ("dev_gold", "precision", "recall"),
    # With half of them right, the threshold falls between; with all, it accepts whatever is mined
    # of the other half; with none, it accepts nothing.
    [(5, 100, 100), (10, None, 100), (0, 0, 0)],
)
def test_the_threshold_of_the_first_half_cuts_the_second(
    dev_gold: int, precision: float | None, recall: float
) -> None:
    dev, test = _half(0, dev_gold), _half(100, 5)
    scored = mining.MiningSet({"de": (dev, test)}).score(Vectorizer(meaning))
    figures = scored.by_language["de"]
    sources, targets = (
        np.stack([meaning(text) for text in side]) for side in (test.sources, test.targets)
    )
    mined = mine(sources, targets)
    assert len(mined.sources) > 5
    assert figures["recall"] == recall
    assert figures["precision"] == (
        pytest.approx(100 * 5 / len(mined.sources)) if precision is None else precision
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
    straight = Vectorizer(lambda word: _one_hot(f"x {word[-1]}"))
    assert found.score(straight).by_language["de"]["aer_match"] == 0
    # Word 0 of one side taken for word 3 of the other, and so on: every link is wrong.
    wrong = Vectorizer(
        lambda word: _one_hot(f"x {word[-1] if word[0] == 'e' else 3 - int(word[-1])}")
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
