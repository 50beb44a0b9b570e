"""Which tokens to keep: a pure function of how often each language uses each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.errors import TrainingError
from training.trimming.tokenizer import Characters, Vocabulary, Why

TokenCounts = NDArray[np.int64]  # (languages, vocabulary): occurrences


@dataclass(frozen=True, slots=True)
class Choice:
    """What is kept: for each old id the reason, and how much of each language that covers."""

    why: dict[int, Why]
    coverage: tuple[float, ...]  # by language: the share of its token occurrences that are kept

    def counted(self) -> dict[str, int]:
        """Kept tokens by reason."""
        reasons = list(self.why.values())
        return {str(each): reasons.count(each) for each in Why}


def choose(
    vocabulary: Vocabulary,
    counts: TokenCounts,
    characters: Characters,
    coverage: float,
    size: int | None,
) -> Choice:
    """Keep what must be kept, then the tokens that the languages use most.

    Without `size`: for each language the fewest tokens that make up `coverage` of its occurrences,
    1 meaning all that it uses. With `size`: as many as fit, by their share of the occurrences,
    averaged over the languages. Whatever a BPE token is merged from is kept with it.

    Raises TrainingError where `size` is too small for what must be kept.
    """
    why = dict.fromkeys(sorted(vocabulary.special()), Why.SPECIAL)
    for token_id in (in_bytes := sorted(vocabulary.bytes_of_texts())):
        why.setdefault(token_id, Why.BYTE)
    # Without an unknown token either, a lost character would leave no trace in the tokens.
    if not in_bytes and (characters is Characters.NEEDED or vocabulary.unknown is None):
        for token_id in sorted(vocabulary.characters()):
            why.setdefault(token_id, Why.CHARACTER)
    for token_id in vocabulary.lowest_score():
        why.setdefault(token_id, Why.SCORE)
    if size is None:
        for row in counts:
            for token_id in _most_used(row, frozenset(why), coverage):
                why.setdefault(token_id, Why.USED)
        merged_from = _merged_from(vocabulary)
        for token_id in sorted(why):
            for part in merged_from(token_id):
                why.setdefault(part, Why.MERGE)
    else:
        _fill(why, _by_share(counts), _merged_from(vocabulary), size)
    kept = sorted(why)
    totals = counts.sum(axis=1)
    shares = counts[:, kept].sum(axis=1) / np.maximum(totals, 1)
    return Choice(why, tuple(shares.tolist()))


def _merged_from(vocabulary: Vocabulary) -> Callable[[int], frozenset[int]]:
    tokens = {number: token for token, number in vocabulary.ids.items()}
    special = vocabulary.special()
    return lambda number: (
        frozenset() if number in special else vocabulary.merged_from(tokens[number])
    )


def _most_used(row: NDArray[np.int64], kept: frozenset[int], coverage: float) -> list[int]:
    """The fewest tokens that, with those already `kept`, cover the share of occurrences."""
    wanted = int(np.ceil(coverage * int(row.sum())))
    covered = sum(int(row[number]) for number in kept)
    found = []
    for number in np.argsort(-row, kind="stable").tolist():
        if covered >= wanted or not row[number]:
            break
        if number not in kept:
            found.append(number)
            covered += int(row[number])
    return found


def _by_share(counts: TokenCounts) -> list[int]:
    """The tokens that are used, by their share of a language's occurrences, averaged."""
    shares = (counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)).mean(axis=0)
    order = np.argsort(-shares, kind="stable")
    used: list[int] = order[: np.count_nonzero(shares)].tolist()
    return used


def _fill(
    why: dict[int, Why],
    wanted: Sequence[int],
    merged_from: Callable[[int], frozenset[int]],
    size: int,
) -> None:
    """Add tokens of `wanted`, each with what it is merged from, until `size` are kept."""
    for token_id in sorted(why):
        for part in merged_from(token_id):
            why.setdefault(part, Why.MERGE)
    if len(why) > size:
        raise TrainingError(
            f"a vocabulary of {size:,} is too small: {len(why):,} tokens must be kept; ask for "
            f"more, or for characters {Characters.USED}"
        )
    for token_id in wanted:
        if len(why) == size:
            return
        parts = merged_from(token_id) - set(why)
        if token_id not in why and len(why) + 1 + len(parts - {token_id}) <= size:
            why[token_id] = Why.USED
            why.update(dict.fromkeys(sorted(parts), Why.MERGE))
