from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.alignment import documents
from service.alignment.band import Band, Bead, Step, cheapest, through
from service.alignment.blocks import Block, Match
from service.alignment.document_texts import Document, joined
from service.alignment.documents import Plan
from service.alignment.matching import Method, align_texts
from service.alignment.scoring import Score
from service.errors import InvalidInput

Floats = NDArray[np.float32]
DIMENSION = 32


def _block_vectors(vectors: Floats, blocks: tuple[Block, ...]) -> Floats:
    """A model of paragraphs: the sum of the sentences, turned into a space of its own."""
    turned = np.roll(vectors, 5, axis=1)
    sums = [turned[block.start : block.end].sum(axis=0) for block in blocks]
    return np.array(sums, np.float32).reshape(-1, vectors.shape[1])


def _aligned(
    sources: Floats, targets: Floats, max_merge: int = 4, score: Score = Score.MARGIN_RATIO
) -> list[Match]:
    plan = Plan(sources, targets, max_merge=max_merge)
    blocks = (
        _block_vectors(sources, plan.source_blocks),
        _block_vectors(targets, plan.target_blocks),
    )
    return plan.matches(*blocks, score=score)


def _places(matches: list[Match]) -> list[tuple[int, int, int, int]]:
    return [(m.source.start, m.source.end, m.target.start, m.target.end) for m in matches]


@st.composite
def two_documents(draw: st.DrawFn) -> tuple[Floats, Floats]:
    """Some sentences in common, in order, and others."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    pool = rng.normal(size=(20, DIMENSION)).astype(np.float32)
    sides = []
    for _ in range(2):
        kept = sorted(draw(st.lists(st.integers(0, 19), min_size=1, max_size=20)))
        noise = rng.normal(0, 0.3, (len(kept), DIMENSION)).astype(np.float32)
        sides.append(pool[kept] + noise)
    return sides[0], sides[1]


@settings(deadline=None)
@given(two_documents(), st.integers(1, 4), st.sampled_from(Score))
def test_an_alignment_is_in_order_and_no_sentence_is_in_two_pairs(
    sides: tuple[Floats, Floats], max_merge: int, score: Score
) -> None:
    matches = _aligned(*sides, max_merge=max_merge, score=score)
    for one, other in itertools.pairwise(matches):
        assert one.source.end <= other.source.start
        assert one.target.end <= other.target.start
    for match in matches:
        for block, side in zip((match.source, match.target), sides, strict=True):
            assert 0 <= block.start < block.end <= len(side)
            assert block.end - block.start <= max_merge
        assert np.isfinite(match.score)
        assert -1 <= match.cosine <= 1


@settings(deadline=None)
@given(two_documents(), st.sampled_from([2.0**-7, 4.0, 2.0**15]))
def test_the_length_of_vectors_does_not_matter(sides: tuple[Floats, Floats], scale: float) -> None:
    scaled = _aligned(sides[0] * np.float32(scale), sides[1])
    assert _places(scaled) == _places(_aligned(*sides))


@settings(deadline=None)
@given(two_documents())
def test_equal_documents_align_to_the_identity(sides: tuple[Floats, Floats]) -> None:
    sources, _ = sides
    found = _places(_aligned(sources, sources))
    assert found == [(i, i + 1, i, i + 1) for i in range(len(sources))]


@settings(deadline=None)
@given(two_documents(), st.integers(1, 3))
def test_turning_the_sides_round_turns_the_pairs(
    sides: tuple[Floats, Floats], max_merge: int
) -> None:
    found = _places(_aligned(*sides, max_merge=max_merge))
    turned = _places(_aligned(sides[1], sides[0], max_merge=max_merge))
    assert [(c, d, a, b) for a, b, c, d in turned] == found


def _made(
    rng: np.random.Generator, sentences: int
) -> tuple[Floats, Floats, list[tuple[int, int, int, int]]]:
    """A document and its translation with merges, splits and sentences left out, and the truth."""
    sides: tuple[list[Floats], list[Floats]] = ([], [])
    truth = []
    while len(sides[0]) < sentences:
        kind = rng.choice(["1-1", "2-1", "1-3", "1-0", "0-1"], p=[0.7, 0.1, 0.08, 0.06, 0.06])
        p, q = map(int, kind.split("-"))
        start, other = len(sides[0]), len(sides[1])
        parts = rng.normal(size=(max(p, q), DIMENSION)).astype(np.float32)
        for side, number in zip(sides, (p, q), strict=True):
            if number == 1:
                side.append(parts.sum(axis=0))
            else:
                side.extend(parts[:number])
        if p and q:
            truth.append((start, start + p, other, other + q))
    noise = [rng.normal(0, 0.3, (len(side), DIMENSION)) for side in sides]
    one, two = (
        (np.array(side) + more).astype(np.float32) for side, more in zip(sides, noise, strict=True)
    )
    return one, two, truth


@pytest.mark.parametrize("sentences", [30, 900])
def test_merges_splits_and_gaps_are_found(sentences: int) -> None:
    sources, targets, truth = _made(np.random.default_rng(sentences), sentences)
    found = _places(_aligned(sources, targets))
    # Not more: a sum of two is nearer to one of them than two strangers are, so that a sentence
    # without a partner now and then joins its neighbour.
    assert len(set(found) & set(truth)) / len(truth) > 0.88
    assert len(set(found) & set(truth)) / len(found) > 0.88


def test_a_long_gap_in_a_long_document_is_bridged() -> None:
    rng = np.random.default_rng(3)
    pool = rng.normal(size=(800, DIMENSION)).astype(np.float32)
    targets = np.concatenate([pool[:200], pool[500:]])
    expected = [(i, i + 1, i, i + 1) for i in range(200)]
    expected += [(i, i + 1, i - 300, i - 299) for i in range(500, 800)]
    assert len(set(_places(_aligned(pool, targets))) & set(expected)) >= 490
    turned = [(c, d, a, b) for a, b, c, d in _places(_aligned(targets, pool))]
    assert len(set(turned) & set(expected)) >= 490


def test_the_band_grows_with_the_length_and_not_its_square() -> None:
    rng = np.random.default_rng(4)
    cells = []
    for sentences in (1_000, 4_000):
        side = rng.normal(size=(sentences, 8)).astype(np.float32)
        cells.append(int(documents._band_of(side, side).starts[-1]))
    assert cells[1] < 4.4 * cells[0]


def test_documents_of_very_different_lengths() -> None:
    rng = np.random.default_rng(5)
    long, short = (rng.normal(size=(n, 8)).astype(np.float32) for n in (1_000, 1))
    for sides in ((long, short), (short, long), (short, short)):
        assert len(_aligned(*sides)) <= 1


def test_one_sentence_may_stand_for_the_whole_other_document() -> None:
    parts = np.random.default_rng(8).normal(size=(4, DIMENSION)).astype(np.float32)
    whole = parts.sum(axis=0, keepdims=True)
    assert _places(_aligned(whole, parts)) == [(0, 1, 0, 4)]
    assert _places(_aligned(parts, whole)) == [(0, 4, 0, 1)]


def test_margins_are_those_of_lists_of_sentences() -> None:
    rng = np.random.default_rng(6)
    sources = rng.normal(size=(12, DIMENSION)).astype(np.float32)
    targets = (sources + rng.normal(0, 0.5, sources.shape)).astype(np.float32)
    matches = _aligned(sources, targets, max_merge=1)
    expected = {p.source: p for p in align_texts(sources, targets, Method.BEST).pairs}
    assert len(matches) == 12
    for match in matches:
        pair = expected[match.source.start]
        assert pair.target == match.target.start
        assert match.score == pytest.approx(pair.score, rel=1e-5)
        assert match.cosine == pytest.approx(pair.cosine, rel=1e-5)


@st.composite
def costly_ways(draw: st.DrawFn) -> tuple[Band, dict[Step, Floats]]:
    """Random costs in a whole band, or in one around some way."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, m = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    band = Band.whole(n, m)
    if draw(st.booleans()):
        middle = [Bead(i, i + 1, m * i // n, m * (i + 1) // n) for i in range(n)]
        band = Band.around(middle, n, m, draw(st.integers(0, 2)))
    steps: list[Step] = [(p, q) for p in (1, 2) for q in (1, 2)]
    rows, columns = band.cells
    costs = {}
    for p, q in steps:
        cost = rng.random(len(rows)).astype(np.float32) * p * q
        cost[(rows < p) | (columns < q) | (rng.random(len(rows)) < 0.2)] = np.inf
        costs[p, q] = cost
    return band, costs


def _every_way(
    band: Band, costs: dict[Step, Floats], skip: float
) -> list[tuple[float, list[Bead]]]:
    """All ways through the band with what they cost, by trying them."""
    rows, columns = (values.tolist() for values in band.cells)
    places = {cell: index for index, cell in enumerate(zip(rows, columns, strict=True))}
    end = (rows[-1], columns[-1])
    ways = []

    def go(cell: tuple[int, int], cost: float, beads: list[Bead]) -> None:
        if cell == end:
            ways.append((cost, beads))
            return
        for p, q in [*costs, (1, 0), (0, 1)]:
            there = cell[0] + p, cell[1] + q
            if there in places:
                more = skip if 0 in (p, q) else float(costs[p, q][places[there]])
                if np.isfinite(more):
                    go(there, cost + more, [*beads, Bead(cell[0], there[0], cell[1], there[1])])

    go((0, 0), 0.0, [])
    return ways


@settings(deadline=None, max_examples=50)
@given(costly_ways())
def test_the_cheapest_way_is_the_cheapest_of_all(case: tuple[Band, dict[Step, Floats]]) -> None:
    band, costs = case
    ways = _every_way(band, costs, 0.3)
    least = min(cost for cost, _ in ways)
    totals, beads = cheapest(band, costs, 0.3)
    assert totals[-1] == pytest.approx(least)
    assert (beads[0].source_start, beads[0].target_start) == (0, 0)
    assert min(cost for cost, way in ways if way == beads) == pytest.approx(least)

    best, passing, same = through(band, costs, 0.3)
    assert best == pytest.approx(least)
    assert same == beads
    rows, columns = (values.tolist() for values in band.cells)
    for step, values in passing.items():
        for place, value in enumerate(values):
            end = rows[place], columns[place]
            bead = Bead(end[0] - step[0], end[0], end[1] - step[1], end[1])
            among = [cost for cost, way in ways if bead in way]
            assert value == pytest.approx(min(among)) if among else np.isinf(value)


def test_blocks_read_as_they_stood_or_as_their_script_joins() -> None:
    split = Document.of("One.  Two!\nThree.", "source", "en")
    assert split.sentences == ("One.", "Two!", "Three.")
    assert split.block(Block(0, 2)) == "One.  Two!"
    assert Document.of(["One.", "Two!"], "source").block(Block(0, 2)) == "One. Two!"
    assert joined(["猫が座る。", "犬が走る。"]) == "猫が座る。犬が走る。"
    assert joined([]) == ""
    with pytest.raises(InvalidInput, match="source is blank"):
        Document.of(" \n ", "source")
