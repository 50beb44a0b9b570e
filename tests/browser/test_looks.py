"""Every tab in use, in light and dark, on a phone and a desktop: looked at and checked by axe."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from selenium.webdriver import Keys

from tests.browser.page import Page


def _compare(page: Page) -> None:
    page.button("One thought", "#compare-examples").click()
    page.one(".heat")


def _align(page: Page) -> None:
    page.button("English and Arabic", "#align-examples").click()
    page.one(".words")


def _search(page: Page) -> None:
    page.button("火山はなぜ", "#search-examples").click()
    page.until(lambda: page.all(".passage mark"))


def _map(page: Page) -> None:
    page.one(".scatter")
    page.script("document.querySelector('.scatter').focus()")
    page.press(Keys.ARROW_RIGHT)


def _jobs(page: Page) -> None:
    if page.has_jobs() and not page.api("/jobs")["jobs"]:
        page.button("Embed the demonstration").click()
        page.one(".state-completed")
    page.one("#jobs-body > *")


IN_USE: dict[str, Callable[[Page], None]] = {
    "compare": _compare,
    "align": _align,
    "search": _search,
    "map": _map,
    "jobs": _jobs,
}


@pytest.mark.parametrize("tab", IN_USE)
def test_a_tab_in_use_is_accessible_and_fits_every_screen(page: Page, tab: str) -> None:
    page.load_demonstration()
    page.open(tab)
    IN_USE[tab](page)
    for width in (1400, 400):
        for theme in ("light", "dark"):
            page.show_as(width, theme)
            page.until(
                lambda theme=theme: page.script(  # type: ignore[misc]
                    "return document.documentElement.dataset.theme === arguments[0]", theme
                )
            )
            assert not page.is_wider_than_screen(), (width, theme)
            # Colours differ by theme and the layout by width, so that two of the four say all.
            if (width, theme) in ((1400, "light"), (400, "dark")):
                assert page.violations() == [], (width, theme)
            page.screenshot(f"{tab}-{theme}-{width}")


@pytest.mark.parametrize("tab", [tab for tab in IN_USE if tab != "jobs"])
def test_a_tab_is_accessible_before_it_is_used(page: Page, tab: str) -> None:
    page.delete_collections()
    page.open(tab, 400, "light")
    assert page.violations() == []
    assert not page.is_wider_than_screen()
    page.screenshot(f"{tab}-empty-light-400")
