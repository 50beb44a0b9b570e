"""The frame around the tabs: moving, theme, shortcuts, and nothing from elsewhere."""

from __future__ import annotations

import pytest
from selenium.webdriver import Keys

from tests.browser.page import Page

TABS = ("compare", "align", "search", "map", "jobs")


def _selected(page: Page) -> str:
    page.until(lambda: len(page.all("[role=tab][aria-selected=true]")) == 1)
    tab = page.one("[role=tab][aria-selected=true]")
    return (tab.get_attribute("id") or "").removeprefix("tab-")


def _seen_panels(page: Page) -> list[str]:
    panels = page.all("[role=tabpanel]")
    return [(p.get_attribute("id") or "")[6:] for p in panels if p.is_displayed()]


def test_tabs_are_walked_with_the_arrows(page: Page) -> None:
    page.open()
    page.one("#tab-compare").click()
    for name in (*TABS[1:], TABS[0]):
        page.press(Keys.ARROW_RIGHT)
        page.until(lambda name=name: _selected(page) == name)  # type: ignore[misc]
        assert _seen_panels(page) == [name]
        assert page.focused().get_attribute("id") == f"tab-{name}"
    page.press(Keys.END)
    page.until(lambda: _selected(page) == "jobs")
    # One stop for the keyboard, however many tabs there are.
    assert [t.get_attribute("tabindex") for t in page.all("[role=tab]")].count("0") == 1


def test_the_address_keeps_the_tab(page: Page) -> None:
    page.open("align")
    assert _selected(page) == "align"
    page.one("#tab-map").click()
    assert page.browser.current_url.endswith("/#map")
    page.browser.back()
    page.until(lambda: _selected(page) == "align")


def test_single_keys_work_and_can_be_switched_off(page: Page) -> None:
    page.open()
    page.press("2")
    page.until(lambda: _selected(page) == "align")
    page.press("/")
    assert page.focused().get_attribute("id") == "align-source"
    page.press("1")  # in a field it is a character
    assert page.focused().get_attribute("value") == "1"
    page.one("#tab-align").click()
    page.press("?")
    page.one("#keys-on").click()
    page.press(Keys.ESCAPE)
    page.until(lambda: not page.script("return document.querySelector('#help').open"))
    page.press("3")
    assert _selected(page) == "align"


@pytest.mark.parametrize("system", ["light", "dark"])
def test_the_theme_is_the_systems_until_one_is_chosen(page: Page, system: str) -> None:
    other = {"light": "dark", "dark": "light"}[system]
    colour = "return getComputedStyle(document.body).backgroundColor"
    page.open(theme=system)
    own = page.script(colour)
    page.one("#theme").click()
    chosen = page.script(colour)
    assert own != chosen
    page.browser.refresh()
    page.until(lambda: page.script(colour) == chosen)
    page.show_as(1400, other)
    assert page.script(colour) == chosen


def test_the_skip_link_goes_to_the_content(page: Page) -> None:
    page.open("align")
    page.press(Keys.TAB)
    assert page.focused().text == "Skip to the playground"
    page.press(Keys.ENTER)
    assert page.focused().get_attribute("id") == "main"
    assert _selected(page) == "align"


def test_it_tells_what_is_served(page: Page) -> None:
    page.open()
    info = page.api("/info")
    assert page.text_of("#served").startswith(f"{info['name']} {info['version']}")


def test_nothing_comes_from_elsewhere(page: Page) -> None:
    page.open()
    for name in TABS:
        page.one(f"#tab-{name}").click()
        page.until(lambda name=name: _seen_panels(page) == [name])  # type: ignore[misc]
    loaded = page.script("return performance.getEntriesByType('resource').map((e) => e.name)")
    assert len(loaded) > 10
    assert [url for url in loaded if not url.startswith(page.address)] == []
    # And what somebody slips in does not run.
    page.script(
        "const s = document.createElement('script'); s.textContent = 'window.slipped = true';"
        "document.body.append(s);"
    )
    assert page.script("return window.slipped ?? null") is None
    assert any("Content Security Policy" in complaint for complaint in page.complaints())


def test_a_service_that_asks_for_a_key_gets_one(page: Page) -> None:
    """The service of these tests asks for none, so its answers are put in its mouth."""
    page.open()
    page.script(
        "window.fetch = async (path, {headers}) => {"
        "  window.sent = headers;"
        "  const error = {code: 'invalid_api_key', message: 'this service asks for an API key'};"
        "  return new Response(JSON.stringify({error}), {status: 401});"
        "};"
    )
    page.button("Names", "#compare-examples").click()
    assert "this service asks for an API key" in page.text_of("[role=alert]")
    page.fill("#key", "pg-secret")
    page.button("Use this key").click()
    # The page loads anew, and from then on shows the key with every request.
    page.until(lambda: page.script("return window.sent ?? 'new'") == "new")
    page.wait_for_tab("compare")
    page.script(
        "const ask = window.fetch;"
        "window.fetch = (path, options) => {"
        "  window.sent = options.headers; return ask(path, options);"
        "};"
    )
    page.button("Names", "#compare-examples").click()
    page.one(".heat")
    assert page.script("return window.sent.Authorization") == "Bearer pg-secret"


def test_a_service_that_is_gone_is_said_to_be(page: Page) -> None:
    page.open()
    page.script("window.fetch = async () => { throw new TypeError('Failed to fetch'); };")
    page.button("Names", "#compare-examples").click()
    assert "cannot be reached" in page.text_of("[role=alert]")
