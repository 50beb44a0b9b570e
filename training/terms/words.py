"""Token alignment: words near their partners in the other text of their pair."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.aligner import Aligner
from training.corpora.tsv import ANCHOR
from training.dictionary import Dictionary
from training.embedding import Chunk, Row
from training.metrics import Metrics
from training.objectives.cosine import cosines
from training.objectives.tokens import (
    link_partners,
    mutual_partners,
    token_alignment,
    word_vectors,
)
from training.positives import Positive, encoded, sides
from training.terms.backward import backward
from training.terms.recipe import Partners
from training.terms.term import Draw, OwnTerm, Setting
from training.words import Words, words_of

Links = Sequence[tuple[int, int]]

# Pairs that are tokenized together where the aligner reads them.
_DRAWN_AT_ONCE = 4_096


@dataclass(frozen=True, slots=True)
class WordChunk:
    """A chunk, and the word of each of its tokens."""

    chunk: Chunk
    words: Tensor  # int64 (rows, tokens)


@dataclass(frozen=True, slots=True)
class WordBatch:
    """Pairs of texts in chunks, all left ones first, and their words."""

    chunks: Sequence[WordChunk]
    place: Tensor  # int64 (texts,)
    mask: Tensor  # bool (texts, words): where there is a word
    partners: Tensor | None  # bool (pairs, words, words), where the texts alone tell them


class TokenAlignment(OwnTerm):
    """`token_alignment` of the pairs' words (VECO 2.0, Zhang et al., 2023)."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._plan = setting.plan.tokens
        # Links of the words of a pair of texts; None where vectors tell them.
        self._links: Callable[[Positive, Words, Words], Links] | None = None
        if self._plan.dictionary is not None:
            languages = (ANCHOR, *setting.recipe.languages)
            dictionary = Dictionary.read(self._plan.dictionary, languages)
            self._links = lambda pair, left, right: dictionary.links(
                left.texts, pair.left.language, right.texts, pair.right.language
            )
        elif self._plan.partners is Partners.ALIGNER:
            aligners = self._fit_aligners()
            unfitted = Aligner.fit([])  # of languages that the pool does not have: words alike
            self._links = lambda pair, left, right: aligners.get(_languages(pair), unfitted).links(
                left.texts, right.texts
            )

    def prepare(self, draw: Draw) -> WordBatch:
        """The pairs' rows and words."""
        return self.batch(draw.positives)

    def batch(self, positives: Sequence[Positive]) -> WordBatch:
        """Pairs tokenized, with their words and, by a dictionary, who are partners."""
        rows, words = self._rows_and_words(positives)
        batch = self._setting.encoder.batch(rows)
        counts = torch.tensor([len(each.texts) for each in words])
        mask = torch.arange(max(1, int(counts.max()))) < counts.unsqueeze(1)
        partners = None
        if self._links is not None:
            sided = zip(positives, words[: len(positives)], words[len(positives) :], strict=True)
            partners = torch.stack(
                [link_partners(self._links(*each), mask.shape[1], mask.shape[1]) for each in sided]
            )
        numbers = batch.of_tokens([torch.tensor(each.of_tokens) for each in words], filler=-1)
        chunks = [WordChunk(*each) for each in zip(batch.chunks, numbers, strict=True)]
        return WordBatch(chunks, batch.place, mask, partners)

    def backward(self, prepared: WordBatch, scale: float) -> Metrics:
        """`partnered_words` is the share of words that have a partner."""
        plan, mask = self._plan, prepared.mask.to(self._setting.encoder.device)
        left_mask, right_mask = mask.chunk(2)
        known = self._known_partners(prepared)
        shares: list[float] = []

        def objective(vectors: Tensor) -> Tensor:
            left, right = vectors.chunk(2)
            partners = known
            if partners is None:
                partners = self._nearest(left, right, left_mask, right_mask)
            shares.append(_share(partners, left_mask, right_mask))
            return token_alignment(left, right, left_mask, right_mask, partners, plan.temperature)

        loss = backward(
            lambda chunk: self._word_vectors(chunk, mask.shape[1]),
            prepared.chunks,
            prepared.place,
            objective,
            scale,
            self._setting.plan.gradient_cache,
        )
        return {"loss": loss.item(), "partnered_words": shares[0]}

    def measure(self, held_out: WordBatch) -> Metrics:
        """How well the words of held-out pairs find their partners: the loss, and as accuracy the
        share of words whose nearest word of the other text is a partner, among those that have one,
        mean of both directions. Where partners are the states' own, among all words: the share
        that are each other's nearest."""
        with torch.no_grad():
            left_mask, right_mask = held_out.mask.to(self._setting.encoder.device).chunk(2)
            left, right = self._embed(held_out, held_out.chunks).chunk(2)
            partners = self._known_partners(held_out)
            own = partners is None
            if partners is None:
                partners = self._nearest(left, right, left_mask, right_mask)
            loss = token_alignment(
                left, right, left_mask, right_mask, partners, self._plan.temperature
            )
            near = cosines(left, right)
            both = (
                _accuracy(near, left_mask, right_mask, partners, own),
                _accuracy(near.mT, right_mask, left_mask, partners.mT, own),
            )
            return {"validation_loss": loss.item(), "validation_accuracy": sum(both) / 2}

    def _known_partners(self, batch: WordBatch) -> Tensor | None:
        """Partners by links or the plain backbone; None where they are the states' own."""
        device = self._setting.encoder.device
        if batch.partners is not None:
            return batch.partners.to(device)
        if self._plan.partners is Partners.OWN:
            return None
        left_mask, right_mask = batch.mask.to(device).chunk(2)
        plain = [
            WordChunk(Chunk(None, each.chunk.ids, each.chunk.mask), each.words)
            for each in batch.chunks
        ]
        with torch.no_grad():
            left, right = self._embed(batch, plain).chunk(2)
        return self._nearest(left, right, left_mask, right_mask)

    def _nearest(
        self, left: Tensor, right: Tensor, left_mask: Tensor, right_mask: Tensor
    ) -> Tensor:
        return mutual_partners(left, right, left_mask, right_mask, self._plan.diagonal)

    def _fit_aligners(self) -> Mapping[tuple[str, str], Aligner]:
        """One for each pair of languages, from as many pairs of the stage as the recipe says."""
        found: dict[tuple[str, str], dict[tuple[str, str], tuple[Sequence[str], Sequence[str]]]]
        found = {}
        for number in range(-(-self._plan.pool // _DRAWN_AT_ONCE)):
            drawn = self._setting.draw(number, min(self._plan.pool, _DRAWN_AT_ONCE))
            _, words = self._rows_and_words(drawn)
            for pair, left, right in zip(
                drawn, words[: len(drawn)], words[len(drawn) :], strict=True
            ):
                known = found.setdefault(_languages(pair), {})
                known.setdefault((pair.left.text, pair.right.text), (left.texts, right.texts))
        return {languages: Aligner.fit(known.values()) for languages, known in found.items()}

    def _rows_and_words(self, positives: Sequence[Positive]) -> tuple[list[Row], list[Words]]:
        """All left texts, then all right ones."""
        texts = sides(positives)
        encodings = encoded(self._setting.encoder.backbone, self._setting.recipe, texts)
        paired = list(zip(texts, encodings, strict=True))
        return (
            [Row(encoding.ids, text.adapter) for text, encoding in paired],
            [words_of(text.text, encoding) for text, encoding in paired],
        )

    def _embed(self, batch: WordBatch, chunks: Sequence[WordChunk]) -> Tensor:
        """The words' vectors in the texts' order, (texts, words, dim)."""
        parts = [self._word_vectors(chunk, batch.mask.shape[1]) for chunk in chunks]
        return torch.cat(parts)[batch.place.to(self._setting.encoder.device)]

    def _word_vectors(self, chunk: WordChunk, count: int) -> Tensor:
        states = self._setting.encoder.states(chunk.chunk)
        return word_vectors(states, chunk.words.to(states.device), count)[0]


def _languages(pair: Positive) -> tuple[str, str]:
    return pair.left.language, pair.right.language


def _share(partners: Tensor, left_mask: Tensor, right_mask: Tensor) -> float:
    having = partners.any(2).sum() + partners.any(1).sum()
    return having.item() / max(1, int(left_mask.sum() + right_mask.sum()))


def _accuracy(
    near: Tensor, mask: Tensor, candidates: Tensor, partners: Tensor, of_all: bool
) -> float:
    """One direction: the share of words whose nearest candidate is a partner."""
    nearest = near.masked_fill(~candidates.unsqueeze(1), -torch.inf).argmax(2, keepdim=True)
    found = partners.gather(2, nearest).squeeze(2)
    counted = mask if of_all else partners.any(2)
    return (found & counted).sum().item() / max(1, int(counted.sum()))
