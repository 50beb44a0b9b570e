"""One service with the shipped bundle, one browser, for all tests of the playground."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.page import CHROMIUM, DRIVER, Page, start_browser
from tests.running_service import running_service


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without a browser these tests are skipped, and say what to install."""
    if CHROMIUM and DRIVER:
        return
    reason = "needs Chromium and its driver: apt-get install chromium chromium-driver"
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service on the shipped bundle, with a state folder of its own."""
    with running_service(tmp_path_factory.mktemp("playground")) as address:
        yield address


@pytest.fixture(scope="session")
def _session_page(address: str) -> Iterator[Page]:
    browser = start_browser()
    try:
        yield Page(address, browser)
    finally:
        browser.quit()


@pytest.fixture
def page(_session_page: Page) -> Iterator[Page]:
    """The page; whatever a test does, the browser may have nothing to complain of."""
    _session_page.complaints()
    yield _session_page
    assert [c for c in _session_page.complaints() if "Failed to load resource" not in c] == []
