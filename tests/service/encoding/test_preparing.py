from __future__ import annotations

from collections.abc import Generator, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bundle import Bundle
from service.encoding.encoder import Encoder, Options, Prepared, Unit
from service.encoding.preparing import Preparer
from service.encoding.tokenizer import Tokenizer
from service.errors import InvalidInput
from tests.tiny_bundle import WORDS


@pytest.fixture(scope="module")
def preparer(tiny_bundle: Bundle) -> Preparer:
    return Preparer(tiny_bundle.manifest, Tokenizer.open(tiny_bundle))


class _Steps:
    """A preparation to iterate over, that keeps what it comes to."""

    def __init__(self, steps: Generator[None, None, Prepared]) -> None:
        self._steps = steps
        self.result: Prepared | None = None

    def __iter__(self) -> Iterator[None]:
        self.result = yield from self._steps


def _units(*texts: str) -> list[Unit]:
    return [Unit(text, f"inputs[{index}]") for index, text in enumerate(texts)]


def _texts(count: int) -> list[str]:
    rng = np.random.default_rng(count)
    return [" ".join(rng.choice(WORDS, rng.integers(1, 30))) for _ in range(count)]


def test_a_large_request_is_prepared_in_short_steps_and_comes_to_the_same(
    preparer: Preparer, monkeypatch: pytest.MonkeyPatch
) -> None:
    units = _units(*_texts(300), "the cat " * 4_000, "le chat")
    whole = preparer.prepare(units, Options(comparable=True))
    calls: list[int] = []
    content_ids = Tokenizer.content_ids

    def counting(self: Tokenizer, texts: list[str]) -> list[bytes]:
        calls.append(len(texts))
        return content_ids(self, texts)

    monkeypatch.setattr(Tokenizer, "content_ids", counting)
    steps = _Steps(preparer.steps(units, Options(comparable=True)))
    before = most = pauses = 0
    for _ in steps:
        pauses += 1
        most, before = max(most, sum(calls) - before), sum(calls)
    assert steps.result == whole
    assert most <= 64
    assert pauses >= 2 * len(units) / 64 - 2
    assert 1 in calls  # the text longer than a step's characters went alone


def test_a_text_that_is_refused_is_named_wherever_it_stands(preparer: Preparer) -> None:
    units = _units(*_texts(150), "a\0b", "cat")
    with pytest.raises(InvalidInput) as caught:
        preparer.prepare(units, Options())
    assert caught.value.param == "inputs[150]"


@given(st.lists(st.integers(1, 45), min_size=1, max_size=30))
def test_windows_of_a_text_are_rows_like_any_other(preparer: Preparer, lengths: list[int]) -> None:
    texts = [
        " ".join(WORDS[(n + k) % 12] for k in range(length)) for n, length in enumerate(lengths)
    ]
    units = [Unit(text, "text", None, "sentence") for text in texts]
    prepared = preparer.prepare(units, Options())
    assert all(len(row) <= 16 for row in prepared.rows)
    for length, parts in zip(lengths, prepared.parts, strict=True):
        assert sum(tokens for _, tokens in parts) >= length
        assert (len(parts) > 1) == (length > 14)
        for place, tokens in parts:
            assert len(prepared.rows[place]) == tokens + 2


def test_the_warm_up_runs_short_and_long_rows_within_the_budget(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[tuple[int, int]] = []
    infer = Encoder.infer

    def recording(self: Encoder, rows: list) -> np.ndarray:  # type: ignore[type-arg]
        shapes.append((len(rows), len(rows[0])))
        return infer(self, rows)

    monkeypatch.setattr(Encoder, "infer", recording)
    encoder.warm_up(128)
    assert shapes == [(8, 16), (4, 32)]
    encoder.warm_up(1)
    assert shapes[2:] == [(1, 16), (1, 32)]
