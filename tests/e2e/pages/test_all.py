"""No command of README and docs is left out: each is run by a test, or a reason says why not."""

from __future__ import annotations

import re

import pytest

from tests.e2e.pages import (
    test_api,
    test_in_a_folder,
    test_jobs,
    test_operations,
    test_quickstart,
    test_tutorial,
)
from tests.e2e.pages.documented import (
    NOT_RUN,
    PAGES,
    all_blocks,
    blocks_of,
    commands_of,
    reason_not_to_run,
)
from tests.running_service import ROOT

# Which module runs all that `blocks_of` gives of a page.
_RUN_BY = {
    **dict.fromkeys(test_in_a_folder.FOLDERS, test_in_a_folder.__name__),
    **{
        page: module.__name__
        for module in (test_api, test_jobs, test_operations, test_quickstart, test_tutorial)
        for page in module.PAGES
    },
    "docs/clients.md": "tests.service.test_clients",  # and what each of its programs prints
}


def test_every_page_that_has_something_to_run_is_run() -> None:
    assert {page for page in PAGES if any(blocks_of(page))} == set(_RUN_BY)


@pytest.mark.parametrize("start", NOT_RUN)
def test_what_is_not_run_is_on_a_page_and_its_reason_names_tests_that_exist(start: str) -> None:
    typed = [each for page in PAGES for block in all_blocks(page) for each in block.commands]
    assert start in map(reason_not_to_run, typed), f"no page says {start!r} any longer"
    for file in re.findall(r"tests/\S+\.py", NOT_RUN[start]):
        assert (ROOT / file).is_file(), file


def test_a_command_is_whole_and_has_no_comment_line() -> None:
    script = "# don't\na 'b\nc' \\\n  d  # isn't\n\nf | g\n"
    assert list(commands_of(script)) == ["a 'b\nc' \\\n  d  # isn't", "f | g"]
    with pytest.raises(ValueError, match="no end"):
        list(commands_of("a 'b\nc"))
