"""The Align tab shows the links that the API finds, and hands them over."""

from __future__ import annotations

import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By

from tests.browser.page import Page

SOURCE = ("The museum opens at ten.", "Mr. Brown is late again.", "Children do not pay.")
TARGET = ("Los niños no pagan.", "El museo abre a las diez.")


def _write(page: Page, source: str, target: str) -> None:
    page.fill("#align-source", source)
    page.fill("#align-target", target)


def _choose(page: Page, selector: str, value: str) -> None:
    page.script(
        "arguments[0].value = arguments[1];"
        "arguments[0].dispatchEvent(new Event('change', {bubbles: true}));",
        page.one(selector),
        value,
    )


def _sentences(page: Page, side: int) -> list[str]:
    column = page.all(".side")[side - 1]
    return [element.text for element in column.find_elements(By.CSS_SELECTOR, "[dir]")]


def test_two_texts_are_linked_as_the_api_links_them(page: Page) -> None:
    page.open("align")
    _write(page, "\n".join(SOURCE), "\n".join(TARGET))
    _choose(page, "#align-cut", "lines")
    _choose(page, "#align-level", "text")
    page.button("Align", "#align-form").click()
    page.one(".linked")
    assert _sentences(page, 1) == list(SOURCE)
    assert _sentences(page, 2) == list(TARGET)
    answer = page.api("/align", {"source": SOURCE, "target": TARGET, "level": "text"})
    links = {(pair["source"][0], pair["target"][0]) for pair in answer["pairs"]}
    assert (0, 1) in links
    assert (2, 0) in links
    assert len(page.all(".curves path")) == len(links)
    alone = len(SOURCE) + len(TARGET) - 2 * len(links)
    assert f"{len(links)} links found, {alone} sentence" in page.text_of("#align-status")
    # The partner of the sentence that has the focus is marked, and no other.
    page.script("document.querySelectorAll('.sentence')[0].focus()")
    assert page.texts("li.on .sentence [dir]") == [SOURCE[0], TARGET[1]]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("電車は遅れました。お茶を飲みました。", ["電車は遅れました。", "お茶を飲みました。"]),
        ("यह पहला है। यह दूसरा है।", ["यह पहला है।", "यह दूसरा है।"]),
        ("هل جاء؟ نعم جاء.", ["هل جاء؟", "نعم جاء."]),
    ],
)
def test_a_text_is_cut_into_sentences_in_its_script(
    page: Page, text: str, sentences: list[str]
) -> None:
    page.open("align")
    _write(page, text, "One.")
    page.button("Align", "#align-form").click()
    page.one(".linked")
    assert _sentences(page, 1) == sentences


def test_the_words_of_a_pair_are_linked_as_the_api_links_them(page: Page) -> None:
    source, target = "My 🐈 drinks warm milk.", "قطتي تشرب الحليب الدافئ."
    page.open("align")
    _write(page, source, target)
    page.button("Align", "#align-form").click()
    page.one(".words")
    (pair,) = page.api("/align", {"source": [source], "target": [target], "level": "word"})["pairs"]
    assert pair["links"]
    # Offsets count characters, of which the cat is one; to the browser it is two.
    for line, (side, text) in enumerate((("source", source), ("target", target))):
        words = [text[start:end] for start, end in pair["words"][side]]
        shown = page.script(
            "return [...document.querySelectorAll('.word-line')[arguments[0]]"
            ".querySelectorAll('.word')].map((e) => e.textContent)",
            line,
        )
        assert shown == words
        assert page.all(".word-line")[line].text == text
    assert len(page.all(".word-curves path")) == len(pair["links"])
    link = pair["links"][0]
    first = page.all(".word-line")[0].find_elements(By.CSS_SELECTOR, ".word")[link["source"]]
    ActionChains(page.browser).move_to_element(first).perform()
    value = "cosine" if link["probability"] is None else "probability"
    worth = link["score"] if link["probability"] is None else link["probability"]
    page.until(lambda: f"{value} {worth:.2f}" in page.text_of(".said"))
    a, b = (slice(*link[f"{side}_span"]) for side in ("source", "target"))
    assert page.texts(".word.on") == [source[a], target[b]]
    assert len(page.all(".word-curves path.on")) == 1


def test_words_are_walked_in_their_direction(page: Page) -> None:
    page.open("align")
    _write(page, "The cat drinks milk.", "القطة تشرب الحليب.")
    page.button("Align", "#align-form").click()
    page.one(".words")
    for line, forwards in enumerate((Keys.ARROW_RIGHT, Keys.ARROW_LEFT)):
        words = page.all(".word-line")[line].find_elements(By.CSS_SELECTOR, ".word")
        page.script("arguments[0].focus()", words[0])
        page.press(forwards)
        assert page.focused() == words[1]
        assert words[0].get_attribute("tabindex") == "-1"


def test_the_links_are_saved_as_tsv(page: Page) -> None:
    page.open("align")
    _write(page, "\n".join(SOURCE), "\n".join(TARGET))
    _choose(page, "#align-cut", "lines")
    _choose(page, "#align-level", "text")
    page.button("Align", "#align-form").click()
    page.one(".linked")
    page.script(
        "URL.createObjectURL = (blob) => { window.saved = blob; return 'blob:none'; };"
        "HTMLAnchorElement.prototype.click = function () { window.savedAs = this.download; };"
    )
    page.button("Download TSV").click()
    assert page.script("return window.savedAs") == "alignment.tsv"
    saved = page.browser.execute_async_script("window.saved.text().then(arguments[0])")
    head, *rows = [line.split("\t") for line in saved.splitlines()]
    answer = page.api("/align", {"source": SOURCE, "target": TARGET, "level": "text"})
    wanted = [
        [
            str(pair["source"][0] + 1),
            str(pair["target"][0] + 1),
            f"{pair['score']:.3f}",
            f"{pair['cosine']:.3f}",
            "" if pair["probability"] is None else f"{pair['probability']:.3f}",
            SOURCE[pair["source"][0]],
            TARGET[pair["target"][0]],
        ]
        for pair in sorted(answer["pairs"], key=lambda pair: pair["source"])
    ]
    assert rows == wanted
    assert len(head) == len(wanted[0])


def test_a_missing_text_is_asked_for(page: Page) -> None:
    page.open("align")
    page.fill("#align-source", "One.")
    page.button("Align", "#align-form").click()
    assert "Write both texts" in page.text_of("#align-status")
    assert page.focused().get_attribute("id") == "align-target"


def test_an_error_names_the_text_at_fault(page: Page) -> None:
    page.open("align")
    _write(page, "One.", "x" * 100_001)
    page.button("Align", "#align-form").click()
    assert "has 100001 characters" in page.text_of("[role=alert]")
    invalid = page.all("[aria-invalid=true]")
    assert [field.get_attribute("id") for field in invalid] == ["align-target"]
