"""What the quick start and the page on the playground tell one to type prints what they show."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.alike import assert_alike
from tests.running_service import PATIENCE_S, PROGRAM, ROOT, running_service

_PAGES = ("docs/quickstart.md", "docs/playground.md")
# A block of shell, with the block of what it prints where one follows at once.
_BLOCK = re.compile(r"```sh\n(.*?)```(?:\n\n```(json|text)\n(.*?)```)?", re.DOTALL)
# In the order of the pages, since one builds on another.
_STEPS = [
    (page, *step)
    for page in _PAGES
    for step in _BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_service(tmp_path_factory.mktemp("quickstart")) as address:
        yield address.removeprefix("http://")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_command_prints_what_is_shown(address: str) -> None:
    for page, command, kind, shown in _STEPS:
        if command == "make serve\n":
            continue  # the service that the others talk to
        here = re.sub(r"(localhost|127\.0\.0\.1):8080", address, command)
        here = here.replace(".venv/bin/polygrain demo", f"{PROGRAM} demo --url http://{address}")
        result = subprocess.run(
            ["bash", "-e", "-c", here],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert result.returncode == 0, (page, command, result.stderr)
        if kind == "json":
            assert_alike(json.loads(result.stdout), json.loads(shown))
        else:
            assert result.stdout == shown.replace("127.0.0.1:8080", address), (page, command)


def test_they_show_what_is_new_in_each_step() -> None:
    commands = " ".join(command for _, command, _, _ in _STEPS)
    for part in ("make serve", "polygrain demo", "/search", "/documents", "/similarity", "/map"):
        assert part in commands


@pytest.mark.parametrize("page", [*_PAGES, "docs/scores.md"])
def test_links_between_pages_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", text)
    assert links
    for link in links:
        assert (ROOT / page).parent.joinpath(link).is_file(), link
