"""The `polygrain` command: the server, and the same work on files without one."""

from __future__ import annotations

from typing import Any

import click

from models.bundle import BundleError
from service.commands.align import align
from service.commands.bundle import bundle_group, info
from service.commands.collection import collection_group
from service.commands.demo import demo
from service.commands.embed import embed
from service.commands.jobs import jobs_group
from service.commands.keys import keys_group
from service.commands.mine import mine
from service.commands.serve import serve
from service.errors import PolygrainError
from service.processes.supervisor import WorkerFailed
from service.settings import SettingsError


class _OneLineErrors(click.Group):
    """A group whose commands end in one line on standard error where a user can mend the cause."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  (click's own signature)
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            raise click.UsageError(str(error)) from None
        except (PolygrainError, BundleError, WorkerFailed) as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=_OneLineErrors)
@click.version_option(package_name="polygrain", message="polygrain %(version)s")
def main() -> None:
    """Embed and align text in many languages, one adapter for each granularity.

    Every setting may also come from the environment, as POLYGRAIN_NAME.
    """


main.add_command(serve)
main.add_command(embed)
main.add_command(align)
main.add_command(info)
main.add_command(mine)
main.add_command(collection_group)
main.add_command(demo)
main.add_command(jobs_group)
main.add_command(bundle_group)
main.add_command(keys_group)
