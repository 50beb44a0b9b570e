"""One service with the shipped bundle, one browser, for all tests of the playground."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.page import CHROMIUM, DRIVER, Page, start_browser

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60


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
    """The address of `polygrain serve` on the shipped bundle, with a state folder of its own."""
    folder = tmp_path_factory.mktemp("playground")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("polygrain")), "serve", "--port", str(port)]
    ours = {name: value for name, value in os.environ.items() if not name.startswith("POLYGRAIN_")}
    ours["POLYGRAIN_STATE_DIR"] = str(folder / "state")
    log = folder / "log"
    with (
        log.open("w") as output,
        subprocess.Popen([*command, "--threads", "1"], cwd=ROOT, env=ours, stderr=output) as server,
    ):
        try:
            _wait_for(f"http://127.0.0.1:{port}/readyz", server, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            assert server.wait(PATIENCE_S) == 0


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_S):
                return
        except urllib.error.URLError:
            running = server.poll() is None and time.monotonic() < deadline
            assert running, log.read_text(encoding="utf-8")
            time.sleep(0.1)


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
