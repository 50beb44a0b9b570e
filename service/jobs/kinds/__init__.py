"""The work of one shard: rows in, a table out, the same whenever and wherever it is done.

A shard depends on its job's spec, its rows, the bundle, and, for the kinds that have one, the
collection; never on what else the server does. So a killed shard is simply done again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from models.bundle import Manifest
from service.jobs.context import Context
from service.jobs.kinds import embed, index, retrieve
from service.jobs.results import Outcome, Shape
from service.jobs.specs import Kind, Spec
from service.rows import BadRow, Row


async def compute(spec: Spec, rows: Sequence[Row | BadRow], context: Context) -> Outcome:
    """Do the work of a shard. Raises what ends the job: PolygrainError, with words for its owner.

    Cancelled, it leaves at most documents in a collection that the same shard writes again.
    """
    return await _KINDS[spec.kind].compute(spec, rows, context)


def shape_of(spec: Spec, manifest: Manifest) -> Shape:
    """What the head of a job's results tells."""
    return _KINDS[spec.kind].shape(spec, manifest)


@dataclass(frozen=True, slots=True)
class _Sharded:
    """A kind of job whose shards are each computed for themselves."""

    compute: Callable[[Spec, Sequence[Row | BadRow], Context], Awaitable[Outcome]]
    shape: Callable[[Spec, Manifest], Shape]


_KINDS = {
    Kind.EMBED: _Sharded(embed.embed, embed.shape),
    Kind.INDEX: _Sharded(index.index, index.shape),
    Kind.RETRIEVE: _Sharded(retrieve.retrieve, retrieve.shape),
}
