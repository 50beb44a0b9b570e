"""Prints `docs/cli.md`, the reference of the two commands, from what they tell of themselves:

python -m deploy.cli_reference > docs/cli.md
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator

import click

from service.cli import main as polygrain
from training.cli import cli as polygrain_train

PROGRAMS: dict[str, click.Group] = {"polygrain": polygrain, "polygrain-train": polygrain_train}

_HEAD = """\
# The commands

Every command and option, as `--help` tells them. `polygrain` serves, and does the same work on
files without a server; `polygrain-train` builds corpora, trains adapters and makes bundles
([training](training.md)). Every setting of `polygrain serve` may come from the environment too
([settings](api.md#settings)).

Made by `python -m deploy.cli_reference > docs/cli.md`; a test holds it equal to the programs.
"""


def reference() -> str:
    """The whole page."""
    parts = [_HEAD]
    for name, program in PROGRAMS.items():
        parts += [_section(context) for context in contexts(program, name)]
    return "\n".join(parts)


def contexts(
    command: click.Command, name: str, parent: click.Context | None = None
) -> Iterator[click.Context]:
    """A context for the command and each below it, in the order of `--help`."""
    context = command.context_class(
        command,
        parent=parent,
        info_name=name,
        terminal_width=100,
        max_content_width=100,
        **command.context_settings,
    )
    yield context
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            below = command.get_command(context, each)
            if below is not None and not below.hidden:
                yield from contexts(below, each, context)


def _section(context: click.Context) -> str:
    command = context.command
    heading = "##" if context.parent is None else "###"
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    lines = [f"{heading} {context.command_path}", "", f"`{usage}`", "", *_paragraphs(command)]
    if isinstance(command, click.Group):
        below = [(each, command.get_command(context, each)) for each in command.commands]
        rows = [
            (f"`{name}`", each.get_short_help_str(limit=200))
            for name, each in sorted(below)
            if each is not None and not each.hidden
        ]
        lines += _table(("Command", "What it does"), rows)
    # Without `--help`, which every command has, and arguments that the usage says all of.
    rows = [
        (f"`{_cell(record[0])}`", _cell(record[1]))
        for parameter in command.params
        if (record := parameter.get_help_record(context)) is not None
        and (record[1] or isinstance(parameter, click.Option))
    ]
    if rows:
        lines += _table(("Option", "What it does"), rows)
    return "\n".join(lines)


def _paragraphs(command: click.Command) -> list[str]:
    """The command's help, each paragraph on a line; what it lays out itself, as it is."""
    lines: list[str] = []
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b"):
            laid_out = paragraph.removeprefix("\b").strip("\n")
            lines += ["```text", *laid_out.splitlines(), "```", ""]
        else:
            lines += [" ".join(paragraph.split()), ""]
    return lines


def _table(heads: tuple[str, str], rows: list[tuple[str, str]]) -> list[str]:
    return [
        f"| {' | '.join(heads)} |",
        "|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]


def _cell(text: str) -> str:
    """Text as it may stand between the bars of a table."""
    return re.sub(r"\s+", " ", text).replace("|", r"\|").strip()


if __name__ == "__main__":
    sys.stdout.write(reference())
