"""What each stage of a run trains on, and what is held out of it to validate on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from models.bundle import Granularity
from training.augmentation.pairs import Augmented, Batches, open_dictionary
from training.contrastive import Data
from training.corpora.overlap import evaluation_texts, fingerprints
from training.corpora.sampling import PairSampler, load_pairs
from training.corpora.table import Entity
from training.corpora.tsv import ANCHOR, Pair
from training.cross import (
    CrossPair,
    CrossSampler,
    hold_out_entities,
    kind_name,
    load_entities,
)
from training.dictionary import Dictionary
from training.positives import Positive, Text
from training.recipe import JointRecipe, Recipe
from training.validation import hold_out


@dataclass(frozen=True, slots=True)
class Corpus:
    """Where the translations lie, a folder of TSV files or a corpus table, and the test sets whose
    texts must not be among them."""

    path: Path
    evaluation: Path


@dataclass(frozen=True, slots=True)
class Translations:
    """The pairs of one adapter's granularity."""

    sampler: Batches
    held_out: Sequence[Pair]
    counts: Mapping[str, int]  # pairs by language


@dataclass(frozen=True, slots=True)
class Parted:
    """The pairs of one granularity, by language."""

    trained: Mapping[str, Sequence[Pair]]
    held_out: Sequence[Pair]  # to validate on
    counts: Mapping[str, int]  # of all
    # All that are not trained on: what is held out, and what was left out for sharing a text or an
    # entity with it. A text of these may still stand in another pair that is trained on.
    aside: Mapping[str, Sequence[Pair]]


class Loader:
    """Reads a corpus for the stages of a recipe; each part once, when it is wanted first."""

    def __init__(self, recipe: Recipe, corpus: Corpus) -> None:
        self._recipe, self._corpus = recipe, corpus

    def translations(self, adapter: str) -> Translations:
        """The pairs of an adapter's granularity, for words those of sentences, without evaluation
        text and, where entities are held out for the joint stage, without theirs."""
        recipe = self._recipe
        parted = self.parted(adapter)
        sampler: Batches = PairSampler(
            parted.trained,
            recipe.language_exponent,
            recipe.seed,
            recipe.source_exponent_of(adapter),
            recipe.batch_languages == "single",
        )
        if recipe.augmentation is not None:
            sampler = Augmented(
                sampler, recipe.augmentation, self._languages, self._dictionary, recipe.seed
            )
        return Translations(sampler, parted.held_out, parted.counts)

    def parted(self, adapter: str) -> Parted:
        """The pairs of an adapter's granularity, in those that it is trained on and the others."""
        recipe = self._recipe
        pairs = load_pairs(
            self._corpus.path,
            recipe.adapters[adapter].pairs,
            recipe.languages,
            self._banned,
            frozenset(recipe.excluded_sources),
        )
        counts = {language: len(pool) for language, pool in pairs.items()}
        if recipe.validation is None:
            return Parted(pairs, [], counts, dict.fromkeys(pairs, ()))
        trained: Mapping[str, Sequence[Pair]] = pairs
        if held_entities := {entity.alignment_id for entity in self._entities[1]}:
            trained = {
                language: [pair for pair in pool if pair.id not in held_entities]
                for language, pool in pairs.items()
            }
        trained, held_out = hold_out(trained, recipe.validation.pairs)
        kept = {id(pair) for pool in trained.values() for pair in pool}
        aside = {
            language: [pair for pair in pool if id(pair) not in kept]
            for language, pool in pairs.items()
        }
        return Parted(trained, held_out, counts, aside)

    def crossed(self) -> tuple[CrossSampler, CrossSampler | None]:
        """Pairs of different granularity, to train on and, where any are held out, to validate
        on."""
        recipe = self._recipe
        joint = _joint(recipe)

        def sampler(entities: Sequence[Entity]) -> CrossSampler:
            return CrossSampler(entities, recipe.language_exponent, recipe.seed, joint.excerpts)

        train, held = self._entities
        return sampler(train), sampler(held) if held else None

    @property
    def _languages(self) -> tuple[str, ...]:
        return ANCHOR, *self._recipe.languages

    @cached_property
    def _dictionary(self) -> Dictionary | None:
        plan = self._recipe.augmentation
        return None if plan is None else open_dictionary(plan, self._languages)

    @cached_property
    def _banned(self) -> frozenset[bytes]:
        return fingerprints(evaluation_texts(self._corpus.evaluation))

    @cached_property
    def _entities(self) -> tuple[Sequence[Entity], Sequence[Entity]]:
        """Entities to train on and to validate on; none where no stage needs them."""
        recipe = self._recipe
        held_anyway = recipe.validation is not None and recipe.validation.entities
        if recipe.joint is None and not held_anyway:
            return [], []
        entities = load_entities(
            self._corpus.path,
            recipe.by_granularity,
            self._languages,
            self._banned,
            frozenset(recipe.excluded_sources),
            recipe.joint is None or recipe.joint.excerpts,
        )
        if recipe.validation is None:
            return entities, []
        return hold_out_entities(entities, recipe.validation.pairs)


def adapter_data(translations: Translations, adapter: str) -> Data:
    """Translations of one granularity, all through one adapter."""

    def draw(number: int, size: int) -> list[Positive]:
        return [_translation(pair, adapter) for pair in translations.sampler.batch(number, size)]

    held_out = {adapter: [_translation(pair, adapter) for pair in translations.held_out]}
    return Data(draw, held_out, translations.counts)


def joint_data(loader: Loader, recipe: Recipe) -> Data:
    """Pairs of different granularity among translations of each, all in one batch: so a text's
    partner has to stand out from texts of either granularity."""
    joint = _joint(recipe)
    translations = {name: loader.translations(name) for name in recipe.joint_adapters}
    train, held = loader.crossed()

    def draw(number: int, size: int) -> list[Positive]:
        crossed = train.batch(number, max(1, round(size * joint.cross_share)))
        ids = {finer.alignment_id for finer, _ in crossed}
        texts = {row.text.casefold() for pair in crossed for row in pair}
        positives = [_crossed(pair, recipe) for pair in crossed]
        left = size - len(crossed)
        for place, (name, each) in enumerate(translations.items()):
            share = left * (place + 1) // len(translations) - left * place // len(translations)
            if share == 0:
                continue
            # Numbers of its own: alike ones would draw alike places of pools that are alike.
            for pair in each.sampler.batch(number * len(translations) + place, share):
                twins = {pair.english.casefold(), pair.other.casefold()}
                # What one entity or text says twice would be a false negative: it is left out.
                if pair.id not in ids and texts.isdisjoint(twins):
                    ids.add(pair.id)
                    texts |= twins
                    positives.append(_translation(pair, name))
        return positives

    held_out = {
        name: [_translation(pair, name) for pair in each.held_out]
        for name, each in translations.items()
        if each.held_out
    }
    if held is not None and recipe.validation is not None:
        for kind in held.kinds:
            found = held.one_of_each(kind)[: recipe.validation.pairs]
            if len(found) > 1:
                held_out[kind_name(kind)] = [_crossed(pair, recipe) for pair in found]
    return Data(draw, held_out, train.counts)


def _joint(recipe: Recipe) -> JointRecipe:
    if recipe.joint is None:
        raise ValueError("the recipe has no joint stage")
    return recipe.joint


def _translation(pair: Pair, adapter: str) -> Positive:
    return Positive(Text(pair.english, adapter, ANCHOR), Text(pair.other, adapter, pair.language))


def _crossed(pair: CrossPair, recipe: Recipe) -> Positive:
    finer, coarser = (
        Text(row.text, recipe.by_granularity[Granularity(row.granularity)], row.language)
        for row in pair
    )
    return Positive(finer, coarser)
