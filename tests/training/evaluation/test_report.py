"""The report as a browser would read it: well-formed, self-contained, escaped, and right."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.training.evaluation.eval_sets import FakeEncoder, write_all
from training.errors import TrainingError
from training.evaluation.languages import Languages
from training.evaluation.report.page import page, write_report
from training.evaluation.report.svg import Cell, heat_map
from training.evaluation.scores import Scores, TaskScores
from training.evaluation.suite import Selection, choose_tasks, evaluate

VOID = {"meta"}
HOSTILE = '<script>alert("1")</script> & \'"'


class Page(HTMLParser):
    """Checks that tags close in order, and collects what the page holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def _measure(folder: Path, able: set[str], **selection: object) -> Scores:
    chosen = Selection(**{"languages": Languages(None), **selection})  # type: ignore[arg-type]
    return evaluate(FakeEncoder(frozenset(able)), folder, chosen, "bundle")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(tmp_path_factory.mktemp("eval"))


@pytest.fixture(scope="module")
def scores(folder: Path) -> Scores:
    return _measure(folder, {"sentence"})


def _changed(scores: Scores, task: str, **fields: object) -> Scores:
    changed: TaskScores = scores.tasks[task].model_copy(update=fields)
    return scores.model_copy(update={"tasks": {**scores.tasks, task: changed}})


def test_the_page_is_well_formed_and_asks_for_nothing(scores: Scores) -> None:
    text = page(scores, scores)
    found = Page(text)
    assert found.tags[:2] == ["html", "head"]
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & set(found.tags)
    names = {name for name, _ in found.attributes}
    assert not {"src", "href", "xlink:href", "srcset", "style", "action"} & names
    assert not [name for name in names if name.startswith("on")]
    assert not re.search(r"url\(|@import|//", text.replace("</", "<"))
    assert "default-src 'none'" in text
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(svg)


def test_every_score_of_every_language_and_adapter_is_there(scores: Scores) -> None:
    found = Page(page(scores))
    for task in scores.tasks.values():
        assert task.title in found.text
        assert task.about in found.text
        for system in scores.systems:
            assert f"{task.title}, {system}: {task.value(task.systems[system]):.2f}" in found.text
            for language, value in task.language_values(system).items():
                assert f"{task.title}, {language}: {value:.2f}" in found.text
        for adapters, mixed in task.mixed.items():
            query, text = adapters.split("+")
            title = f"queries through {query}, texts through {text}: {task.value(mixed):.2f}"
            assert title in found.text


def test_whatever_a_file_holds_is_shown_and_never_run(scores: Scores) -> None:
    task = scores.tasks["tatoeba"]
    systems = {f"{HOSTILE}{name}": each for name, each in task.systems.items()}
    by_language = {HOSTILE: next(iter(task.systems["routed"].by_language.values()))}
    systems["routed"] = task.systems["routed"].model_copy(update={"by_language": by_language})
    hostile = _changed(scores, "tatoeba", title=HOSTILE, about=HOSTILE, systems=systems)
    model = scores.model.model_copy(update={"name": HOSTILE, "version": HOSTILE})
    skipped = {HOSTILE: HOSTILE}
    hostile = hostile.model_copy(
        update={"model": model, "measured_at": HOSTILE, "skipped": skipped}
    )
    found = Page(page(hostile, hostile))
    assert "script" not in found.tags
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert HOSTILE in found.text


def test_colours_are_stronger_where_a_score_is_better(scores: Scores) -> None:
    def opacity(text: str, title: str) -> float:
        pattern = rf"<title>{re.escape(title)}.*?fill-opacity=\"([0-9.]+)\""
        return float(re.search(pattern, text, re.DOTALL)[1])  # type: ignore[index]

    text = page(scores)
    assert opacity(text, "Tatoeba, sentence: 100.00") == 1
    assert opacity(text, "xsim, sentence: 0.00") == 1
    worse = scores.tasks["xsim"].value(scores.tasks["xsim"].systems["none"])
    assert opacity(text, f"xsim, none: {worse:.2f}") == pytest.approx(1 - worse / 100, abs=1e-3)


def test_two_bundles_stand_side_by_side_with_their_differences(
    folder: Path, scores: Scores
) -> None:
    worse = _measure(folder, {"phrase"})
    found = Page(page(scores, worse)).text
    for name in ("tatoeba", "xsim"):
        task, old = scores.tasks[name], worse.tasks[name]
        after, before = task.value(task.systems["routed"]), old.value(old.systems["routed"])
        # Both the rise of the accuracy and the fall of the error are for the better.
        assert f"{before:.1f} → {after:.1f}  ({after - before:+.1f} ▲)" in found
        new, past = task.language_values("routed"), old.language_values("routed")
        for language in new:
            assert f"{past[language]:.2f} → {new[language]:.2f}" in found
    assert "▼" in found  # names went through the adapter that understood before
    back = Page(page(worse, scores)).text
    task, old = worse.tasks["tatoeba"], scores.tasks["tatoeba"]
    difference = task.value(task.systems["routed"]) - old.value(old.systems["routed"])
    assert f"({difference:+.1f} ▼)" in back


def test_only_what_was_measured_alike_is_compared(folder: Path, scores: Scores) -> None:
    part = _measure(folder, {"phrase"}, languages=Languages.parse(["de"]))
    found = Page(page(scores, part)).text
    # Tatoeba's mean is over other languages; the word alignments are in German alone anyway.
    left_out = found.split("not measured alike: ")[1].split(".")[0]
    assert "Tatoeba" in left_out
    assert "Word alignment" not in left_out
    assert "Tatoeba, routed" in found
    alone = _measure(folder, {"phrase"}, tasks=choose_tasks(["dbp15k"]), systems=("phrase",))
    other = _measure(folder, {"phrase"}, tasks=choose_tasks(["dbp15k"]), systems=("none",))
    with pytest.raises(TrainingError, match="share no task that both measured"):
        page(alone, other)


def test_a_page_that_cannot_be_made_leaves_the_old_one(scores: Scores, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    write_report(scores, None, file)
    before = file.read_text()
    nothing_shared = scores.model_copy(update={"tasks": {}})
    with pytest.raises(TrainingError):
        write_report(scores, nothing_shared, file)
    assert file.read_text() == before
    assert list(tmp_path.iterdir()) == [file]


def test_a_heat_map_has_room_for_its_labels() -> None:
    short = heat_map(["a"], [("b", [Cell("1", 0.5, "t")])], "l")
    wide = heat_map(["a" * 40], [("b" * 40, [None])], "l")
    sizes = [
        [int(each) for each in re.search(r'viewBox="0 0 (\d+) (\d+)"', svg).groups()]  # type: ignore[union-attr]
        for svg in (short, wide)
    ]
    assert sizes[1][0] > sizes[0][0] + 400
    assert sizes[1][1] > sizes[0][1] + 100
