"""The playground in a real browser, as the tests speak of it."""

from __future__ import annotations

import base64
import json
import shutil
import urllib.request
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, Keys
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from service.demo import passages

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
# Long, for machines that do much else at the same time; nothing waits so long that works.
PATIENCE_S = 60

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
DRIVER = shutil.which("chromedriver")

# Everything that axe-core calls a rule of WCAG up to 2.1 AA, and its best practices.
_AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]

Value = TypeVar("Value")


class Page:
    """One browser on one running service."""

    def __init__(self, address: str, browser: Chrome) -> None:
        self.address = address
        self.browser = browser
        self._axe = files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")

    def open(self, tab: str = "compare", width: int = 1400, theme: str = "light") -> None:
        """Load the page anew, with nothing remembered, for a screen of `width` CSS pixels.

        `tab` may go on with a collection, as in search/NAME.
        """
        self.show_as(width, theme)
        self.browser.get(f"{self.address}/livez")
        self.browser.execute_script("localStorage.clear(); sessionStorage.clear();")
        self.browser.get(f"{self.address}/#{tab}")
        self.wait_for_tab(tab.split("/")[0])
        self.until(lambda: self.script("return document.querySelector('#served').textContent"))

    def wait_for_tab(self, tab: str) -> None:
        """Until the tab is seen and can be used."""
        self.until(lambda: self.all("[role=tab][aria-selected=true]"))
        self.one(f"#panel-{tab}:not([hidden]):not([aria-busy])")

    def show_as(self, width: int, theme: str) -> None:
        """A screen of so many CSS pixels, and a system that is light or dark."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        # Without motion: axe is not to measure a colour on its way from one theme to the other.
        features = [
            {"name": "prefers-color-scheme", "value": theme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def script(self, code: str, *arguments: object) -> Any:  # noqa: ANN401  (what JSON holds)
        return self.browser.execute_script(code, *arguments)

    def until(self, condition: Callable[[], Value | None]) -> Value:
        """The first true value of `condition`; fails after PATIENCE_S."""
        # What is redrawn between being found and being read is looked for again.
        wait = WebDriverWait(self.browser, PATIENCE_S, 0.05, [StaleElementReferenceException])
        found = wait.until(lambda _: condition())
        assert found is not None
        return found

    def all(self, selector: str) -> list[WebElement]:
        """The elements there now."""
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        """The first element that is seen, once there is one."""
        return self.until(lambda: next((e for e in self.all(selector) if e.is_displayed()), None))

    def button(self, text: str, within: str = "body") -> WebElement:
        """The first seen button whose words begin with `text`."""
        return self.until(
            lambda: next(
                (
                    button
                    for button in self.all(f"{within} button, {within} a.button")
                    if button.is_displayed() and button.text.startswith(text)
                ),
                None,
            )
        )

    def texts(self, selector: str) -> list[str]:
        """The words of every element that is there, read at one moment."""
        found: list[str] = self.script(
            "return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText.trim())",
            selector,
        )
        return found

    def text_of(self, selector: str) -> str:
        """All words of the first element that is seen, once it has some."""
        return self.until(lambda: self.one(selector).text)

    def fill(self, selector: str, text: str) -> None:
        """Put `text` into a field at once, as pasting does."""
        self.script(
            "arguments[0].value = arguments[1];"
            "arguments[0].dispatchEvent(new Event('input', {bubbles: true}));"
            "arguments[0].dispatchEvent(new Event('change', {bubbles: true}));",
            self.one(selector),
            text,
        )

    def press(self, *keys: str) -> None:
        """Keys to whatever has the focus."""
        ActionChains(self.browser).send_keys(*keys).perform()

    def run_by_keyboard(self) -> None:
        """Control and Enter, from where the focus is."""
        keys = ActionChains(self.browser).key_down(Keys.CONTROL).send_keys(Keys.ENTER)
        keys.key_up(Keys.CONTROL).perform()

    def focused(self) -> WebElement:
        return self.browser.switch_to.active_element

    def is_wider_than_screen(self) -> bool:
        """Whether one must scroll the whole page sideways."""
        return bool(self.script("return document.documentElement.scrollWidth > innerWidth"))

    def screenshot(self, name: str) -> None:
        """The whole page as a picture, kept for people to look at."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        options = {"format": "png", "captureBeyondViewport": True}
        picture = self.browser.execute_cdp_cmd("Page.captureScreenshot", options)
        (SCREENSHOTS / f"{name}.png").write_bytes(base64.b64decode(picture["data"]))

    def violations(self) -> list[str]:
        """What axe-core finds wrong with the page as it is, one line for each element."""
        self.script(self._axe)
        found = self.browser.execute_async_script(
            "const done = arguments[1];"
            "axe.run(document, {runOnly: arguments[0], resultTypes: ['violations']})"
            "  .then(({violations}) => done(violations), (fault) => done(String(fault)));",
            _AXE_TAGS,
        )
        assert isinstance(found, list), found
        return [
            f"{rule['id']}: {node['html'][:160]}: {node['failureSummary']}"
            for rule in found
            for node in rule["nodes"]
        ]

    def complaints(self) -> list[str]:
        """What the browser logged since the last call: faults of scripts, refused loads."""
        return [str(entry["message"]) for entry in self.browser.get_log("browser")]  # type: ignore[no-untyped-call]

    def load_demonstration(self) -> None:
        """Have the demonstration as a collection, whatever else there is."""
        if "demo" not in self.api("/collections")["collections"]:
            self.api("/collections/demo", {}, "PUT")
            self.api("/collections/demo/documents", {"documents": passages()})

    def delete_collections(self) -> None:
        """Have no collection."""
        for name in self.api("/collections")["collections"]:
            self.api(f"/collections/{name}", method="DELETE")

    def has_jobs(self) -> bool:
        """Whether the service takes jobs."""
        return "/jobs" in self.api("/openapi.json")["paths"]

    def api(self, path: str, body: object = None, method: str | None = None) -> Any:  # noqa: ANN401
        """The service's own answer to a request of the test, as the oracle."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.address}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
            return json.loads(response.read() or b"null")


def start_browser() -> Chrome:
    """Debian's Chromium without a window, its cache and its own traffic."""
    assert CHROMIUM is not None
    options = ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--hide-scrollbars",
        "--disable-background-networking",
        "--disable-component-update",
        "--lang=en",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = Chrome(options=options, service=Service(DRIVER))
    browser.set_script_timeout(PATIENCE_S)
    return browser
