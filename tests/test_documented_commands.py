"""Commands in the documents exist, with the options that they are shown with.

None is run here: tests/e2e/pages does that with those that stand in blocks.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import MagicMock

import click
import pytest

from service.cli import main as polygrain
from training.cli import cli as polygrain_train

ROOT = Path(__file__).parents[1]
# docs/cli.md is made from the commands themselves: tests/deployment/test_references.py.
PAGES = sorted(
    page for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")] if page.name != "cli.md"
)
PROGRAMS: dict[str, click.Command] = {"polygrain": polygrain, "polygrain-train": polygrain_train}
# What benchmarks compare with; without them their commands have the same options.
_PEERS = ("hnswlib", "usearch", "usearch.index")
_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`((?:\S+/)?(?:polygrain(?:-train)? |python -m )[^`]+)`")


def commands_of(script: str) -> Iterator[list[str]]:
    """The simple commands of a shell script, as words; comments and redirections are left out."""
    script = re.sub(r"(^|\s)#\s.*$", "", script.replace("\\\n", " "), flags=re.MULTILINE)
    lexer = shlex.shlex(script, posix=True, punctuation_chars="();<>|&\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    words: list[str] = []
    for token in lexer:
        if set(token) <= set("<>"):
            next(lexer)  # the file
        elif set(token) <= set("();<>|&\n"):
            yield words
            words = []
        else:
            words.append(token)
    yield words


def ours(words: list[str]) -> tuple[click.Command, list[str]] | None:
    """The command of ours that the words start, wherever it stands, and its arguments."""
    for place, word in enumerate(words):
        if (name := re.sub(r"^\S*/bin/", "", word)) in PROGRAMS:
            return PROGRAMS[name], words[place + 1 :]
        if word == "-m" and words[place + 1].split(".")[0] in ("benchmarks", "training"):
            rest = [each for each in words[place + 2 :] if each != "--"]
            return module_command(words[place + 1]), rest
    return None


def module_command(name: str) -> click.Command:
    """What `python -m name` runs."""
    absent = [peer for peer in _PEERS if importlib.util.find_spec(peer.split(".")[0]) is None]
    for peer in absent:
        sys.modules[peer] = MagicMock()
    try:
        module = importlib.import_module(name)
        if hasattr(module, "__path__"):
            module = importlib.import_module(f"{name}.__main__")
    finally:
        # What was imported with a stand-in is not for other tests.
        made_with = [each for each in sys.modules if each.startswith("benchmarks.retrieval")]
        for each in [*absent, *(made_with if absent else ())]:
            sys.modules.pop(each, None)
    found = {
        each
        for key in ("main", "cli")
        if isinstance(each := getattr(module, key, 0), click.Command)
    }
    (command,) = found
    return command


def check(command: click.Command, arguments: list[str], *, whole: bool) -> None:
    """Raise click's UsageError where the arguments are not the command's; with `whole`, where some
    that it needs are missing too."""
    context = click.Context(command, info_name=command.name)
    if "--help" in arguments[:1]:
        return
    given, rest, _ = command.make_parser(context).parse_args(list(arguments))
    if isinstance(command, click.Group) and rest:
        below = command.get_command(context, rest[0])
        if below is None:
            raise click.UsageError(f"{command.name} has no command {rest[0]}")
        check(below, rest[1:], whole=whole)
        return
    if rest:
        raise click.UsageError(f"{command.name} takes no {' '.join(rest)}")
    for parameter in command.params:
        values = given.get(parameter.name or "")
        if whole and parameter.required and not (isinstance(values, str | list | tuple) and values):
            raise click.UsageError(f"{command.name} needs {parameter.human_readable_name}")
        if isinstance(parameter.type, click.Choice) and isinstance(values, str):
            parameter.type.convert(values, parameter, context)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_says_to_type_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for block in _BLOCK.findall(text):
        for words in commands_of(block):
            if found := ours(words):
                _must_pass(words, *found, whole=True)
    for inline in _INLINE.findall(_BLOCK.sub("", text)):
        # The first of alternatives, with what is optional; an ellipsis is for more of the same.
        words = [re.sub(r"[\\\[\]]", "", each).split("|")[0] for each in inline.split()]
        if words[-1] == "…" and not words[-2].startswith("--"):
            words.pop()
        if found := ours(words):
            _must_pass(words, *found, whole=False)


def _must_pass(
    words: list[str], command: click.Command, arguments: list[str], *, whole: bool
) -> None:
    try:
        check(command, arguments, whole=whole)
    except click.UsageError as error:
        pytest.fail(f"{' '.join(words)}: {error.format_message()}")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("polygrain emded x.txt", "emded"),
        (".venv/bin/polygrain embed --adaptor x a.txt", "--adaptor"),
        ("polygrain align a.txt", "needs"),
        ("polygrain align a.txt b.txt c.txt > d", "takes no c.txt"),
        ("cat a | polygrain align --score best a.txt b.txt", "'best'"),
        ("polygrain-train unpack \\\n  --bundle x", "needs"),
        ("python -m benchmarks.serve runs", "runs"),
        ("torchrun -m training.cli -- adapters --recipee x", "--recipee"),
    ],
)
def test_what_does_not_exist_is_found(script: str, said: str) -> None:
    (found,) = [each for words in commands_of(script) if (each := ours(words))]
    with pytest.raises(click.UsageError) as error:
        check(*found, whole=True)
    assert said in error.value.format_message()
