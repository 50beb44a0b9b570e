"""The Map tab: a mark for every text, walked by keys, with each language its own look."""

from __future__ import annotations

import pytest
from selenium.webdriver import ActionChains, Keys

from service.demo import passages
from tests.browser.page import Page

MARKS = ".scatter .mark"


@pytest.fixture
def filled(page: Page) -> Page:
    """The page of a service with the demonstration."""
    page.load_demonstration()
    return page


def _places(page: Page) -> list[tuple[float, float]]:
    moved = [str(mark.get_attribute("transform")) for mark in page.all(MARKS)]
    pairs = [text.removeprefix("translate(").removesuffix(")").split(" ") for text in moved]
    return [(float(x), float(y)) for x, y in pairs]


def test_every_text_has_a_mark_where_the_service_puts_it(filled: Page) -> None:
    page = filled
    page.open("map/demo")
    page.one(".scatter")
    points = page.api("/collections/demo/map?limit=1000")["points"]
    places = _places(page)
    assert len(places) == len(points) == len(passages())
    # One scale for both axes, right is right and up is up: differences are in proportion.
    widest = max(points, key=lambda p: p["x"]), min(points, key=lambda p: p["x"])
    a, b = (points.index(each) for each in widest)
    scale = (places[a][0] - places[b][0]) / (points[a]["x"] - points[b]["x"])
    assert scale > 0
    for place, point in zip(places, points, strict=True):
        assert place[0] - places[b][0] == pytest.approx(
            scale * (point["x"] - points[b]["x"]), abs=0.2
        )
        assert places[b][1] - place[1] == pytest.approx(
            scale * (point["y"] - points[b]["y"]), abs=0.2
        )
    assert "All 144 documents" in page.text_of("#map-status")


def test_languages_differ_in_colour_and_shape_and_can_be_hidden(filled: Page) -> None:
    page = filled
    page.open("map/demo")
    page.one(".scatter")
    points = page.api("/collections/demo/map?limit=1000")["points"]
    looks = page.script(
        "return [...document.querySelectorAll(arguments[0])].map((m) =>"
        " m.getAttribute('d') + m.getAttribute('fill'))",
        MARKS,
    )
    by_language = {p["language"]: look for p, look in zip(points, looks, strict=True)}
    assert looks == [by_language[point["language"]] for point in points]
    assert len(set(by_language.values())) == len(by_language) == 12
    page.button("Swahili", "#map-result").click()
    seen = page.script(
        "return [...document.querySelectorAll(arguments[0])].map((m) =>"
        " m.getAttribute('visibility') === 'visible')",
        MARKS,
    )
    assert seen == [point["language"] != "sw" for point in points]


def test_the_pointer_and_the_arrows_show_a_text(filled: Page) -> None:
    page = filled
    page.open("map/demo")
    page.one(".scatter")
    points = page.api("/collections/demo/map?limit=1000")["points"]
    places = _places(page)
    # The mark that is rightmost lies under no other.
    right = max(range(len(places)), key=lambda index: places[index][0])
    ActionChains(page.browser).move_to_element(page.all(MARKS)[right]).perform()
    page.until(lambda: points[right]["text"] in page.text_of(".picked"))
    page.script("document.querySelector('.scatter').focus()")
    page.press(Keys.ARROW_LEFT)
    shown = page.text_of(".picked")
    assert points[right]["text"] not in shown
    (now,) = [p for p in points if p["text"] in shown]
    assert places[points.index(now)][0] < places[right][0]


def test_without_documents_it_says_where_to_get_some(page: Page) -> None:
    page.delete_collections()
    page.open("map")
    page.button("Go to Search", "#map-result").click()
    page.wait_for_tab("search")
