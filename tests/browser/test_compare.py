"""The Compare tab shows what the API answers, and takes what people do."""

from __future__ import annotations

import numpy as np
import pytest
from selenium.webdriver import ActionChains, Keys

from tests.browser.page import Page

FIELDS = "#compare-texts textarea"


def _values(page: Page) -> list[str]:
    return [str(field.get_attribute("value")) for field in page.all(FIELDS)]


def _write(page: Page, *texts: str) -> None:
    """Texts typed one after the other, each after the Enter that makes its field."""
    page.all(FIELDS)[0].click()
    for number, text in enumerate(texts):
        if number:
            page.press(Keys.ENTER)
        page.press(text)


def test_an_example_is_filled_in_and_compared_with_one_click(page: Page) -> None:
    page.open()
    assert "Nothing compared yet" in page.text_of("#compare-result")
    page.button("One thought", "#compare-examples").click()
    page.one(".heat")
    texts = _values(page)
    answer = page.api("/similarity", {"sources": texts, "targets": texts})
    expected = np.array(answer["scores"])
    shown = [
        [c.text for c in row.find_elements("tag name", "td")] for row in page.all(".heat tbody tr")
    ]
    for i, row in enumerate(shown):
        for j, cell in enumerate(row):
            if i == j:
                assert cell == ""
            else:
                assert float(cell) == pytest.approx(expected[i, j], abs=0.00501)
    facts = page.api("/embed", {"inputs": texts})["data"]
    below = page.texts(".facts")
    assert below == [f"{fact['granularity']} {fact['tokens']} tokens" for fact in facts]
    np.fill_diagonal(expected, -1)
    i, j = divmod(int(expected.argmax()), len(texts))
    assert f"Closest: {i + 1} and {j + 1}" in page.text_of("#compare-status")


def test_texts_are_typed_and_compared_by_keyboard_alone(page: Page) -> None:
    page.open()
    _write(page, "The cat sleeps.", "Die Katze schläft.", "Kedi uyuyor.")
    # Enter goes to a field of its own, before those that were there.
    assert [v for v in _values(page) if v] == [
        "The cat sleeps.",
        "Die Katze schläft.",
        "Kedi uyuyor.",
    ]
    page.run_by_keyboard()
    page.one(".heat")
    assert len(page.all(".heat tbody tr")) == 3
    page.script("document.querySelector('.heat td[tabindex=\"0\"]').focus()")
    page.press(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    picked = page.text_of(".picked")
    assert "Kedi uyuyor." in picked
    assert "Die Katze schläft." in picked


def test_the_pointer_shows_a_pair(page: Page) -> None:
    page.open()
    page.button("Names", "#compare-examples").click()
    cell = page.one(".heat td[data-at='0 5']")
    ActionChains(page.browser).move_to_element(cell).perform()
    page.until(lambda: "Mount Everest" in page.text_of(".picked"))
    assert "Mount Fuji" in page.text_of(".picked")


def test_one_text_is_not_compared(page: Page) -> None:
    page.open()
    _write(page, "alone")
    page.button("Compare", "#compare-form").click()
    assert "two texts" in page.text_of("#compare-status")
    assert page.focused().get_attribute("aria-label") == "Text 2"


def test_an_error_is_shown_in_the_services_words_at_its_text(page: Page) -> None:
    page.open()
    page.button("Names", "#compare-examples").click()
    page.one(".heat")
    page.fill("li:nth-child(2) textarea", "x" * 100_001)
    page.button("Compare", "#compare-form").click()
    message = page.text_of("[role=alert]")
    assert "has 100001 characters; at most 100000 are allowed" in message
    assert "too_large" in message
    invalid = page.all("[aria-invalid=true]")
    assert [field.get_attribute("aria-label") for field in invalid] == ["Text 2"]


def test_pasted_lines_become_texts_or_one(page: Page) -> None:
    page.open()
    page.all(FIELDS)[0].click()
    page.script(
        "const data = new DataTransfer(); data.setData('text', arguments[0]);"
        "document.activeElement.dispatchEvent("
        "  new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true}));",
        "one\n\ntwo\r\nthree\n",
    )
    assert _values(page) == ["one", "two", "three", ""]
    page.button("Make it one text").click()
    assert _values(page) == ["", "one\ntwo\nthree"]


def test_each_script_runs_in_its_direction_with_its_fonts(page: Page) -> None:
    page.open()
    page.button("Right to left", "#compare-examples").click()
    page.one(".heat")
    styles = page.script(
        "return [...document.querySelectorAll(arguments[0])].map((e) =>"
        " [getComputedStyle(e).direction, e.lang])",
        FIELDS,
    )
    assert styles == [["rtl", "he"], ["rtl", "ar"], ["rtl", "ar"], ["ltr", ""], ["rtl", "he"]]


def test_a_text_cannot_become_markup(page: Page) -> None:
    page.open()
    _write(page, "<img src=x onerror='window.slipped=1'>", "<b>bold</b>")
    page.button("Compare", "#compare-form").click()
    page.one(".heat")
    assert page.all("#compare-result img, #compare-result b") == []
    assert "<b>bold</b>" in page.text_of(".picked")
