"""What the shards of jobs are computed with: the engine, the collections, the settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

import orjson

from models.bundle import Manifest
from service.encoding.encoder import Engine
from service.jobs.specs import Spec
from service.retrieval.work import CollectionWork, Kind
from service.settings import Settings


@dataclass(frozen=True, slots=True)
class Draft:
    """A document of an index job, checked, before its vector is known."""

    id: str
    text: str
    language: str | None
    granularity: str | None
    metadata: bytes  # a JSON object


@dataclass(frozen=True)
class Context:
    """What shards are computed with."""

    settings: Settings
    engine: Engine
    collections: CollectionWork
    # A document as `POST …/documents` takes it, checked; InvalidInput says what is wrong.
    draft: Callable[[dict[str, Any]], Draft]

    @property
    def manifest(self) -> Manifest:
        """Of the bundle that is served."""
        return self.engine.encoder.manifest

    @cached_property
    def bundle(self) -> str:
        """All that decides what vectors are: shards of one job must agree in it."""
        encoder, manifest = self.engine.encoder, self.manifest
        files = orjson.dumps(manifest.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
        return " ".join(
            (
                manifest.name,
                manifest.version,
                sha256(files).hexdigest()[:16],
                str(encoder.choice.runtime),
                str(encoder.choice.precision),
            )
        )

    @property
    def line_bytes(self) -> int:
        """A longer line of an input is no row: a text at its longest, with some metadata."""
        return 4 * self.settings.max_item_characters + 65_536


async def on_collection(
    context: Context, spec: Spec, function: Callable[..., Any], kind: Kind = "search"
) -> Any:  # noqa: ANN401
    """What `function` makes of the job's collection, in a thread of a kind."""
    work, name = context.collections, spec.collection or ""
    return await work.run(kind, lambda cancel: function(work.collections.get(name), cancel))
