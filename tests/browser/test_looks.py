"""Every tab in use, in light and dark, on a phone and a desktop: looked at and checked by axe."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.page import Page


def _compare(page: Page) -> None:
    page.button("One thought", "#compare-examples").click()
    page.one(".heat")


def _align(page: Page) -> None:
    page.button("English and Arabic", "#align-examples").click()
    page.one(".linked")


IN_USE: dict[str, Callable[[Page], None]] = {"compare": _compare, "align": _align}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("tab", IN_USE)
def test_it_is_accessible_and_fits_its_screen(page: Page, tab: str, width: int, theme: str) -> None:
    page.open(tab, width, theme)
    assert page.violations() == []
    assert not page.is_wider_than_screen()
    IN_USE[tab](page)
    assert not page.is_wider_than_screen()
    assert page.violations() == []
    page.screenshot(f"{tab}-{theme}-{width}")
