"""Texts to vectors, each text once per adapter: the cache, and the ways through the adapters."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.bundle import TEXT_GRANULARITIES, Granularity
from training.errors import TrainingError
from training.evaluation.encoder import Encoder, Model
from training.evaluation.similarity import Vectors

PLAIN = "none"
ROUTED = "routed"
# What a cached vector takes beside its numbers: key, array and table entry.
_ENTRY_BYTES = 400

Route = Mapping[Granularity, str | None]  # None: through no adapter


def systems(model: Model, chosen: Sequence[str] | None) -> dict[str, Route]:
    """The ways through the adapters, by name: `none`, each adapter, and `routed`, which sends each
    text through the adapter of its granularity.

    `chosen` picks some; TrainingError names one that the model has not.
    """
    words = next((n for n, kind in model.adapters.items() if kind is Granularity.WORD), None)
    every: dict[str, Route] = {}
    if model.has_plain:
        every[PLAIN] = dict.fromkeys(Granularity)
    for name, granularity in model.adapters.items():
        # A `word` adapter is for words alone; any adapter may be tried on them.
        reads = (Granularity.WORD,) if granularity is Granularity.WORD else tuple(Granularity)
        every[name] = dict.fromkeys(reads, name)
    every[ROUTED] = {
        **{granularity: model.routing[granularity] for granularity in TEXT_GRANULARITIES},
        Granularity.WORD: words or model.routing[Granularity.SENTENCE],
    }
    if chosen is None:
        return every
    if unknown := [name for name in chosen if name not in every]:
        raise TrainingError(
            f"--adapters names {', '.join(unknown)}; {model.name} can be read through "
            f"{', '.join(every)}"
        )
    return {name: route for name, route in every.items() if name in chosen}


class VectorCache:
    """The vectors of the texts used last, in at most `budget_bytes`; an encoder behind it."""

    def __init__(self, encoder: Encoder, budget_bytes: int) -> None:
        self._encoder = encoder
        self._budget_bytes = budget_bytes
        self.used_bytes = 0
        self._vectors: OrderedDict[tuple[str | None, str], Vectors] = OrderedDict()

    def __len__(self) -> int:
        return len(self._vectors)

    def embed(self, texts: Sequence[str], adapter: str | None) -> Vectors:
        """As the encoder's own, but only what is not cached is encoded, in one call."""
        missing = [text for text in texts if (adapter, text) not in self._vectors]
        fresh = (
            dict(zip(missing, self._encoder.embed(missing, adapter), strict=True))
            if missing
            else {}
        )
        rows = np.empty((len(texts), self._encoder.model.dimension), dtype=np.float32)
        for index, text in enumerate(texts):
            rows[index] = fresh[text] if text in fresh else self._vectors[adapter, text]
        for text in texts:
            self._keep((adapter, text), fresh.get(text))
        return rows

    def _keep(self, key: tuple[str | None, str], vector: Vectors | None) -> None:
        if key in self._vectors:
            self._vectors.move_to_end(key)
        elif vector is not None:
            self._vectors[key] = vector.copy()
            self.used_bytes += _size(key, vector)
            while self.used_bytes > self._budget_bytes:
                oldest, dropped = self._vectors.popitem(last=False)
                self.used_bytes -= _size(oldest, dropped)


def _size(key: tuple[str | None, str], vector: Vectors) -> int:
    return vector.nbytes + 2 * len(key[1]) + _ENTRY_BYTES


@dataclass(frozen=True, slots=True)
class Space:
    """The texts of one test set, encoded by one system. It is a `Reader`."""

    encoder: Encoder
    route: Route
    place: Mapping[Granularity, Mapping[str, int]]
    matrix: Mapping[Granularity, Vectors]

    @classmethod
    def encode(
        cls,
        encoder: Encoder,
        cache: VectorCache,
        route: Route,
        texts: Mapping[Granularity, Sequence[str]],
    ) -> Space:
        """Encode all `texts` at once, so that those of like length share a batch.

        Those under `word` are left to `words`.
        """
        place: dict[Granularity, dict[str, int]] = {
            granularity: {text: index for index, text in enumerate(dict.fromkeys(each))}
            for granularity, each in texts.items()
            if granularity is not Granularity.WORD
        }
        matrix = {each: cache.embed(list(index), route[each]) for each, index in place.items()}
        return cls(encoder, route, place, matrix)

    def vectors(self, granularity: Granularity, texts: Sequence[str]) -> Vectors:
        """Unit rows, one for each text: (n, dim)."""
        place = self.place[granularity]
        return self.matrix[granularity][[place[text] for text in texts]]

    def words(self, sentences: Sequence[Sequence[str]]) -> list[Vectors]:
        """For each sentence, the mean of each word's sub-word states: (words, dim)."""
        return self.encoder.embed_words(sentences, self.route[Granularity.WORD])
