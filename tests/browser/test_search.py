"""The Search tab: a collection is made, filled with a file, and asked in other languages."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.page import Page


@pytest.fixture
def clean(page: Page) -> Page:
    """The page of a service without collections."""
    page.delete_collections()
    return page


@pytest.fixture
def filled(clean: Page) -> Page:
    """The page of a service whose only collection is the demonstration."""
    clean.load_demonstration()
    return clean


def _drop(page: Page, path: Path) -> None:
    page.script("document.querySelector('#taking').replaceChildren()")
    page.all("#file")[0].send_keys(str(path))
    page.until(lambda: "taken in, in" in page.text_of("#taking") or page.all("#taking .error"))


def _ask(page: Page, query: str) -> None:
    page.fill("#query", query)
    page.button("Search", "#search-form").click()
    page.until(lambda: page.text_of("#search-status"))


def _found(page: Page) -> list[str]:
    return [text.split(" · ")[0] for text in page.texts(".hits .about")]


def test_the_demonstration_is_one_click_away_and_found_in_every_language(clean: Page) -> None:
    page = clean
    page.open("search")
    assert "No collection yet" in page.text_of("#search-result")
    page.button("Load the demonstration").click()
    page.until(lambda: "144 documents in 12 languages" in page.text_of("#collection-facts"))
    assert "144 documents from the demonstration taken in" in page.text_of("#taking")
    page.button("Why does the ocean", "#search-examples").click()
    page.one(".hits")
    body = {"queries": "Why does the ocean come and go?", "top_k": 10}
    (expected,) = page.api("/collections/demo/search", body)["results"]
    assert _found(page) == [hit["id"] for hit in expected]
    assert len({hit["language"] for hit in expected}) >= 5
    shown = [float(text) for text in page.texts(".hits .meter .number")]
    assert shown == pytest.approx([hit["score"] for hit in expected], abs=0.000501)
    # Each passage keeps its words, with the sentence nearest to the question marked.
    page.until(lambda: len(page.all(".passage mark")) == len(expected))
    assert page.texts(".passage") == [hit["text"] for hit in expected]
    for hit, mark in zip(expected, page.texts(".passage mark"), strict=True):
        assert mark in hit["text"]
        assert mark != hit["text"]


def test_filters_narrow_what_is_found(filled: Page) -> None:
    page = filled
    page.open("search")
    page.button("Hindi", "#search-languages").click()
    page.button("Turkish", "#search-languages").click()
    _ask(page, "tea")
    page.one(".hits")
    assert {id_.rsplit("-")[1] for id_ in _found(page)} == {"hi", "tr"}
    page.one("#search-form summary").click()
    page.fill("#search-filter", '{"field": "metadata.topic", "eq": "chess"}')
    page.fill("#search-top", "1")
    page.button("Search", "#search-form").click()
    page.until(lambda: len(_found(page)) == 1)
    assert _found(page)[0] in {"chess-hi", "chess-tr"}
    page.fill("#search-least", "1")
    page.button("Search", "#search-form").click()
    page.until(lambda: "Nothing found" in page.text_of("#search-status"))


FILES = {
    "a.txt": ("Die Katze schläft.\n\nEs regnet heute.\n", ["a.txt, line 1", "a.txt, line 3"]),
    "table.tsv": ("id\ttext\tlanguage\tyear\na\tIl pleut.\tfr\t2020\n", ["a"]),
    "table.csv": ('text,id\n"Regen, viel ""Regen""\nund Wind",b\n', ["b"]),
    "rows.jsonl": ('{"id": "c", "text": "雨が降る。", "metadata": {"n": 1}}\n', ["c"]),
    "list.json": ('["Uno.", {"text": "Dos.", "id": "d"}]', ["list.json, item 1", "d"]),
}  # fmt: skip


def test_files_of_every_kind_are_taken_in(clean: Page, tmp_path: Path) -> None:
    page = clean
    page.open("search")
    page.fill("#new-name", "files")
    page.button("Create", "#new-form").click()
    page.until(lambda: page.all("#collection option"))
    wanted = []
    for name, (content, ids) in FILES.items():
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        _drop(page, path)
        page.script("document.querySelector('#filling').open = true")
        wanted += ids
    stored = page.api("/collections/files/scroll", {})["documents"]
    by_id = {document["id"]: document for document in stored}
    assert sorted(by_id) == sorted(wanted)
    assert by_id["a"]["text"] == "Il pleut."
    assert by_id["a"]["language"] == "fr"
    assert by_id["a"]["metadata"] == {"year": "2020"}
    assert by_id["b"]["text"] == 'Regen, viel "Regen"\nund Wind'
    assert by_id["c"]["metadata"] == {"n": 1}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bad.jsonl", '{"text": "ok"}\n{"text":\n', "line 2 is not JSON"),
        ("bad.tsv", "one\ttwo\na\tb\n", 'names no column "text"'),
        ("none.jsonl", '{"text": "ok"}\n{"title": "x"}\n', "line 2: there is no text"),
        ("bad.csv", 'text\n"a" b\n', "In row 2 a quotation mark"),
        ("empty.txt", "\n\n", "holds no text"),
        # What only the service can know is said in its words, with the document's own id.
        ("bad.json", '[{"text": "ok", "id": "x", "language": "Deutsch"}]', "language"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(
    clean: Page, tmp_path: Path, name: str, content: str, message: str
) -> None:
    page = clean
    page.open("search")
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    _drop(page, path)
    assert message in page.text_of("#taking .error")


def test_a_name_that_is_not_allowed_is_refused_in_the_services_words(clean: Page) -> None:
    page = clean
    page.open("search")
    page.fill("#new-name", "Über uns")
    page.button("Create", "#new-form").click()
    assert "1 to 100 of a-z" in page.text_of("#taking .error")


def test_a_collection_is_deleted_when_one_says_yes(filled: Page) -> None:
    page = filled
    page.open("search/demo")
    page.one("#filling summary").click()
    page.button("Delete demo").click()
    page.browser.switch_to.alert.dismiss()
    assert page.api("/collections") == {"collections": ["demo"]}
    page.button("Delete demo").click()
    page.browser.switch_to.alert.accept()
    page.until(lambda: "No collection yet" in page.text_of("#search-result"))
    assert page.api("/collections") == {"collections": []}


def test_a_document_cannot_become_markup(clean: Page) -> None:
    page = clean
    text = "<b>bold</b> <script>window.slipped = 1</script> and more. A second sentence."
    document = {"id": "<i>id</i>", "text": text, "language": "en", "metadata": {"<u>": "<s>"}}
    page.api("/collections/markup", {}, "PUT")
    page.api("/collections/markup/documents", {"documents": [document]})
    page.open("search")
    _ask(page, "bold")
    page.one(".hits")
    assert page.all(".hits b, .hits i, .hits u, .hits s, .hits script") == []
    assert page.text_of(".passage") == text
    assert page.text_of(".about") == "<i>id</i> · <u>: <s>"
