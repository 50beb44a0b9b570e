"""What a smaller vocabulary costs: texts in both bundles, token by token and vector by vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tqdm import tqdm

from models.bundle import Granularity, Manifest
from training.inference import open_session, run_batches
from training.trimming.tokenizer import TokenIds, Vocabulary

Vectors = NDArray[np.float32]  # (texts, dim), unit rows


class Text(NamedTuple):
    """A text, and the granularity whose adapter it goes through."""

    granularity: Granularity
    text: str


@dataclass(frozen=True, slots=True)
class LanguageCost:
    """What the cut changes for the sampled texts of one language."""

    language: str
    kept: bool  # one of the languages that the vocabulary was cut to
    texts: int
    alike: float  # share of the texts with the same tokens
    tokens_before: float  # per text
    tokens_after: float
    unknown_before: float  # share of the tokens
    unknown_after: float
    cosine_mean: float  # between a text's vectors in both bundles
    cosine_lowest: float


@dataclass(frozen=True, slots=True)
class Encoder:
    """A tokenizer and a graph, as a bundle's manifest joins them."""

    manifest: Manifest
    tokenizer: Tokenizer
    unknown: int | None  # the id of the unknown token
    session: Any

    @classmethod
    def open(
        cls, manifest: Manifest, tokenizer_json: str, graph: bytes | str, threads: int | None
    ) -> Encoder:
        """Load both, the graph from its bytes or its path; no `threads` means all cores."""
        tokenizer = Tokenizer.from_str(tokenizer_json)
        tokenizer.no_padding()
        vocabulary = Vocabulary.read(tokenizer_json, manifest.tokenizer.pad_token_id)
        return cls(manifest, tokenizer, vocabulary.unknown, open_session(graph, threads))

    def token_ids(self, texts: Sequence[Text]) -> list[list[int]]:
        """Token ids of each text, cut at the longest input of its granularity's adapter."""
        self.tokenizer.no_truncation()
        rows = []
        for text in texts:
            self.tokenizer.enable_truncation(self._adapter(text).max_tokens)
            rows.append(self.tokenizer.encode(text.text).ids)
        return rows

    def vectors(self, texts: Sequence[Text], rows: Sequence[Sequence[int]]) -> Vectors:
        """The unit vector of each text, `rows` being its token ids."""
        vectors = np.empty((len(rows), self.manifest.dimension), dtype=np.float32)
        adapters = [self._adapter(text).row for text in texts]
        pad = self.manifest.tokenizer.pad_token_id
        for batch, values in run_batches(self.session, "embedding", rows, adapters, pad):
            vectors[batch] = values
        return vectors

    def _adapter(self, text: Text) -> Any:  # noqa: ANN401
        return self.manifest.adapter(self.manifest.routing[text.granularity])


def measure(
    parent: Encoder,
    child: Encoder,
    old_ids: TokenIds,
    sample: Mapping[str, Sequence[Text]],
    kept: Sequence[str],
) -> list[LanguageCost]:
    """What `child` changes for the texts of `sample`, by language; languages without texts are
    left out. `old_ids` holds the parent's id of each of the child's tokens.

    A text counts as alike where the model sees the same tokens, within its adapter's limit.
    """
    costs = []
    for language, texts in tqdm(sample.items(), desc="comparing", unit="language", disable=None):
        if not texts:
            continue
        before, after = parent.token_ids(texts), child.token_ids(texts)
        alike = [old == old_ids[new].tolist() for old, new in zip(before, after, strict=True)]
        cosines = np.sum(parent.vectors(texts, before) * child.vectors(texts, after), axis=1)
        lengths = [sum(map(len, rows)) for rows in (before, after)]
        unknowns = [
            0 if coder.unknown is None else sum(row.count(coder.unknown) for row in rows)
            for coder, rows in ((parent, before), (child, after))
        ]
        costs.append(
            LanguageCost(
                language=language,
                kept=language in kept,
                texts=len(texts),
                alike=sum(alike) / len(texts),
                tokens_before=lengths[0] / len(texts),
                tokens_after=lengths[1] / len(texts),
                unknown_before=unknowns[0] / lengths[0],
                unknown_after=unknowns[1] / lengths[1],
                cosine_mean=float(cosines.mean()),
                cosine_lowest=float(cosines.min()),
            )
        )
    return costs


def as_markdown(costs: Sequence[LanguageCost]) -> str:
    """The costs as a table: languages kept first, then the others."""
    lines = [
        "| language | kept | texts | alike | tokens a text | unknown tokens "
        "| cosine, mean | lowest |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for cost in sorted(costs, key=lambda each: (not each.kept, each.language)):
        lines.append(
            f"| {cost.language} | {'yes' if cost.kept else 'no'} | {cost.texts} "
            f"| {100 * cost.alike:.1f} % | {cost.tokens_before:.1f} → {cost.tokens_after:.1f} "
            f"| {100 * cost.unknown_before:.2f} → {100 * cost.unknown_after:.2f} % "
            f"| {cost.cosine_mean:.4f} | {cost.cosine_lowest:.4f} |"
        )
    return "\n".join(lines)
