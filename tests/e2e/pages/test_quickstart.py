"""What the quick start and the page on the playground tell one to type prints what they show."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.pages.documented import blocks_of
from tests.e2e.pages.shell import show, type_in

# In this order: the playground draws what the quick start puts into the service.
PAGES = ("docs/quickstart.md", "docs/playground.md")


def test_every_command_prints_what_is_shown(address: str, tmp_path: Path) -> None:
    for page in PAGES:
        for block in blocks_of(page):
            show(block, type_in(block.commands, tmp_path, address), address)


def test_they_show_what_is_new_in_each_step() -> None:
    typed = " ".join(c for page in PAGES for block in blocks_of(page) for c in block.commands)
    for part in ("polygrain demo", "/search", "/documents", "/similarity", "/map"):
        assert part in typed
