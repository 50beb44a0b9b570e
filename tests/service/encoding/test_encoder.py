from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from models.bundle import Bundle, BundleError, Granularity
from service.encoding.batching import Priority, QueueState
from service.encoding.encoder import Encoded, Encoder, Engine, Options, Unit, check_text
from service.encoding.session import Session, Vectors
from service.encoding.tokenizer import LongText, Row, Tokenizer, windows
from service.errors import InferenceFailed, InvalidInput, NotReady, Overloaded, TooLarge
from tests.fakes import FailingSession, ShortSession, gated_encoder
from tests.tiny_bundle import (
    VOCABULARY,
    expected_embedding,
    expected_tokens,
    write_tiny_bundle,
)


@pytest.fixture(scope="module")
def encoder(tiny_bundle: Bundle) -> Encoder:
    return Encoder.open(tiny_bundle.path, threads=1)


def _units(*texts: str, adapter: str | None = "sentence") -> list[Unit]:
    return [Unit(text, f"inputs[{index}]", None, adapter) for index, text in enumerate(texts)]


def _unit_rows(vectors: np.ndarray) -> None:
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def _words(count: int, offset: int = 0) -> str:
    """A text of `count` words of one token each, with no two windows alike."""
    return " ".join("abcdefghijklmnopqrstuvwxyz"[(offset + n) % 26] for n in range(count))


TEXTS = ("the cat sat", "hund", "猫坐在垫子上。", "x", "the big red dog sat on the mat", "le chat!")


def test_vectors_are_those_of_the_oracle_in_order(encoder: Encoder) -> None:
    units = [
        Unit(text, "", None, adapter) for adapter in ("sentence", "paragraph") for text in TEXTS
    ]
    encoded = encoder.encode(units)
    for unit, vector in zip(units, encoded.vectors, strict=True):
        oracle = expected_embedding(unit.text, unit.adapter or "")
        np.testing.assert_allclose(vector, oracle, atol=1e-6)
    assert encoded.vectors.dtype == np.float32
    _unit_rows(encoded.vectors)


def test_a_hundred_mixed_texts_get_the_vectors_they_get_alone(encoder: Encoder) -> None:
    rng = np.random.default_rng(3)
    words = list(VOCABULARY)[4:]
    adapters = ("phrase", "sentence", "paragraph")
    units = [
        Unit(" ".join(rng.choice(words, rng.integers(1, 40))), "", None, adapters[n % 3])
        for n in range(100)
    ]
    together = encoder.encode(units, batch_tokens=256)
    for index, unit in enumerate(units):
        alone = encoder.encode([unit])
        assert float(together.vectors[index] @ alone.vectors[0]) >= 0.9999
        np.testing.assert_allclose(together.vectors[index], alone.vectors[0], atol=1e-5)
        assert together.facts[index] == alone.facts[0]


def test_a_long_text_is_the_weighted_mean_of_its_windows(encoder: Encoder) -> None:
    words = _words(50).split()
    encoded = encoder.encode(_units(" ".join(words)))
    # The sentence adapter takes 16, two of them special.
    parts = [words[start:end] for start, end in windows(50, 14)]
    means = np.stack([expected_embedding(" ".join(part), "sentence") for part in parts])
    mean = np.average(means, axis=0, weights=[len(part) for part in parts])
    np.testing.assert_allclose(encoded.vectors[0], mean / np.linalg.norm(mean), atol=1e-5)
    assert (encoded.facts[0].tokens, encoded.facts[0].truncated) == (52, False)


def test_truncation_is_told_and_embeds_the_beginning(encoder: Encoder) -> None:
    long = " ".join(["cat"] * 7 + ["dog"] * 43)
    encoded = encoder.encode(_units(long, "cat"), Options(LongText.TRUNCATE))
    oracle = expected_embedding(" ".join(["cat"] * 7 + ["dog"] * 7), "sentence")
    np.testing.assert_allclose(encoded.vectors[0], oracle, atol=1e-6)
    assert [(fact.tokens, fact.truncated) for fact in encoded.facts] == [(16, True), (3, False)]


def test_a_text_just_as_long_as_its_adapter_takes_is_whole(encoder: Encoder) -> None:
    text = " ".join(["cat"] * 14)
    for long_text in LongText:
        (fact,) = encoder.encode(_units(text), Options(long_text)).facts
        assert (fact.tokens, fact.truncated) == (16, False)


def test_an_error_for_a_long_text_names_it_and_the_ways_out(encoder: Encoder) -> None:
    units = _units("cat", "cat " * 15)
    with pytest.raises(InvalidInput, match=r"has 17 tokens and adapter sentence takes 16") as e:
        encoder.encode(units, Options(LongText.ERROR))
    assert e.value.param == "inputs[1]"
    assert "window or truncate" in e.value.message


def test_without_normalisation_a_vector_is_the_mean_of_its_token_states(encoder: Encoder) -> None:
    encoded = encoder.encode(_units("the cat", "the cat sat on the mat"), Options(normalize=False))
    for vector, words in zip(
        encoded.vectors, (["the", "cat"], ["the", "cat", "sat", "on", "the", "mat"]), strict=True
    ):
        ids = [2, *(VOCABULARY[word] for word in words), 3]
        np.testing.assert_allclose(vector, expected_tokens(ids, 0).mean(axis=0), atol=1e-5)


def test_rows_with_and_without_normalisation_share_a_batch(encoder: Encoder) -> None:
    plain = encoder.prepare(_units("the cat", "dog"), Options(normalize=False))
    unit = encoder.prepare(_units("the cat", "dog"), Options())
    vectors = encoder.infer([*plain.rows, *unit.rows])
    norms = np.linalg.norm(vectors[:2], axis=1, keepdims=True)
    assert (np.abs(norms - 1) > 0.1).all()
    np.testing.assert_allclose(vectors[:2] / norms, vectors[2:], atol=1e-5)


def test_windows_that_cancel_out_leave_zero_and_no_nan(encoder: Encoder) -> None:
    prepared = encoder.prepare(_units("cat " * 14 + "dog " * 14), Options())
    assert len(prepared.rows) == 3
    vectors = np.zeros((3, 8), np.float32)
    vectors[:, 0] = (1, -2, 1)
    assert prepared.finish(vectors).vectors.tolist() == [[0.0] * 8]


def test_equal_texts_get_equal_vectors_to_the_last_bit(encoder: Encoder) -> None:
    units = _units(*[text for n in range(8) for text in ("le chat", "the cat sat " * n + "x")])
    vectors = encoder.encode(units, batch_tokens=64).vectors
    assert len({vector.tobytes() for vector in vectors[::2]}) == 1
    assert len(encoder.prepare(units, Options()).rows) < len(units)


def test_the_router_decides_where_nobody_else_does(encoder: Encoder) -> None:
    units = _units("Big Dog", "The dog sat.", "The dog sat. The cat sat.", adapter=None)
    assert [fact.granularity for fact in encoder.encode(units).facts] == [
        Granularity.PHRASE,
        Granularity.SENTENCE,
        Granularity.PARAGRAPH,
    ]


def test_what_is_too_long_for_its_adapter_is_routed_to_a_coarser_one(encoder: Encoder) -> None:
    name = "Xyzzyqwert"  # 10 tokens and 2 special ones; phrase takes 8, sentence 16
    (fact,) = encoder.encode(_units(name, adapter=None)).facts
    assert fact.adapter == "sentence"
    endless = Unit("The cat sat " + "on the mat " * 60 + ".", "")
    (fact,) = encoder.encode([endless]).facts
    assert fact.adapter == "paragraph"
    (fact,) = encoder.encode([Unit(name, "", Granularity.PHRASE)]).facts
    assert fact.adapter == "phrase"  # a granularity that the caller names is kept


def test_a_granularity_goes_to_the_adapter_that_the_bundle_routes_it_to(tmp_path: Path) -> None:
    routing = {"phrase": "paragraph", "sentence": "sentence", "paragraph": "paragraph"}
    bundle = write_tiny_bundle(tmp_path / "b", routing=routing)
    encoded = Encoder.open(bundle.path, threads=1).encode([Unit("cat", "", Granularity.PHRASE)])
    assert (encoded.facts[0].granularity, encoded.facts[0].adapter) == ("phrase", "paragraph")
    np.testing.assert_allclose(
        encoded.vectors[0], expected_embedding("cat", "paragraph"), atol=1e-6
    )


def _adapters(encoder: Encoder, *granularities: str) -> list[str]:
    units = [Unit("cat", "", Granularity(g)) for g in granularities]
    return [fact.adapter for fact in encoder.encode(units, Options(comparable=True)).facts]


def test_comparable_adapters_each_keep_their_texts(encoder: Encoder) -> None:
    assert _adapters(encoder, "sentence", "paragraph") == ["sentence", "paragraph"]


def test_the_coarsest_granularity_takes_all_where_adapters_are_not_comparable(
    encoder: Encoder,
) -> None:
    assert _adapters(encoder, "phrase", "sentence") == ["sentence"] * 2
    assert _adapters(encoder, "paragraph", "phrase", "sentence") == ["paragraph"] * 3
    assert _adapters(encoder, "phrase", "phrase") == ["phrase"] * 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty text"),
        (" \n\t", "empty text"),
        ("a\0b", r"NUL character \(U\+0000\)"),
        ("ab\ud800c", r"lone surrogate \(U\+D800\) at character 2"),
    ],
)
def test_what_is_no_text_is_refused_by_name(encoder: Encoder, text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        encoder.encode(_units("fine", text))
    assert caught.value.param == "inputs[1]"
    caught.value.message.encode()


@pytest.mark.parametrize("text", ["猫", "a\u200bb", "👩‍👩‍👧", "e\u0301", "\U0010ffff"])
def test_well_formed_text_of_any_kind_is_taken(encoder: Encoder, text: str) -> None:
    check_text(text, "inputs")
    assert np.isfinite(encoder.encode([Unit(text, "inputs")]).vectors).all()


def test_a_damaged_bundle_is_refused(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "b")
    (bundle.path / "encoder.onnx").write_bytes(b"x" * 10)
    with pytest.raises(BundleError, match=r"encoder\.onnx is 10 bytes"):
        Encoder.open(bundle.path)


def _engine(encoder: Encoder, batch_tokens: int = 64, queue_tokens: int = 1_000) -> Engine:
    return Engine(encoder, batch_tokens=batch_tokens, queue_tokens=queue_tokens)


def test_requests_served_together_get_what_they_get_alone(encoder: Encoder) -> None:
    requests = [_units(*TEXTS[n:], "cat " * (n + 1)) for n in range(len(TEXTS))]

    async def scenario() -> list[Encoded]:
        engine = _engine(encoder)
        answers = await asyncio.gather(*(engine.encode(units) for units in requests))
        await engine.close()
        return answers

    for units, together in zip(requests, asyncio.run(scenario()), strict=True):
        alone = encoder.encode(units)
        np.testing.assert_allclose(together.vectors, alone.vectors, atol=1e-5)
        assert together.facts == alone.facts


def test_small_requests_beside_a_large_one_get_what_they_get_alone(tiny_bundle: Bundle) -> None:
    encoder = Encoder.open(tiny_bundle.path, threads=2)
    assert encoder.load_beside is None
    encoder.open_beside()
    large = _units(*(_words(30, offset) for offset in range(500)))
    small = [[Unit(text, "", None, "phrase")] for text in TEXTS]

    async def scenario() -> list[Encoded]:
        engine = _engine(encoder, queue_tokens=100_000)
        beside = asyncio.create_task(engine.encode(large))
        await asyncio.sleep(0.01)
        answers = [await engine.encode(units) for units in small]
        await asyncio.gather(beside)
        await engine.close()
        return answers

    for units, answer in zip(small, asyncio.run(scenario()), strict=True):
        np.testing.assert_allclose(answer.vectors, encoder.encode(units).vectors, atol=1e-6)


def test_short_requests_are_prepared_where_they_come_in_and_others_elsewhere(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    content_ids = Tokenizer.content_ids

    def recording(self: Tokenizer, texts: list[str]) -> list[bytes]:
        threads.append(threading.current_thread().name)
        return content_ids(self, texts)

    monkeypatch.setattr(Tokenizer, "content_ids", recording)
    large = _units(*[_words(20, n) for n in range(400)])

    async def scenario() -> list[Encoded]:
        engine = _engine(encoder, queue_tokens=100_000)
        answers = [await engine.encode(units) for units in (_units("cat"), large)]
        await engine.close()
        return answers

    short, many = asyncio.run(scenario())
    assert threads[0] == threading.current_thread().name
    assert len(threads) > 400 / 64
    assert all(name.startswith("prepare") for name in threads[1:])
    assert short.vectors.shape == (1, 8)
    np.testing.assert_allclose(many.vectors, encoder.encode(large).vectors, atol=1e-5)


def test_an_interactive_request_goes_before_jobs_and_the_state_says_what_waits(
    tiny_bundle: Bundle,
) -> None:
    slow, session = gated_encoder(tiny_bundle)

    async def scenario() -> QueueState:
        engine = _engine(slow, queue_tokens=10_000)
        # The same length, so that only the order decides who is first.
        job = [_units(_words(10, n)) for n in range(26)]
        jobs = [asyncio.create_task(engine.encode(units, None, Priority.JOB)) for units in job]
        assert await asyncio.to_thread(session.entered.wait, 30)
        asked = asyncio.create_task(engine.encode(_units("hund " * 10)))
        await asyncio.sleep(0)  # short texts are queued at once
        state = engine.queue_state()
        session.gate.set()
        await asyncio.gather(asked, *jobs)
        await engine.close()
        assert engine.queue_state().held_tokens == 0
        return state

    state = asyncio.run(scenario())
    assert state.queued_rows >= 27 - 64 // 12
    assert state.queued_tokens == 12 * state.queued_rows
    assert (state.held_tokens, state.limit_tokens) == (12 * 27, 10_000)
    (place,) = (n for n, row in enumerate(session.rows) if VOCABULARY["hund"] in row)
    assert place < 2 * 64 // 12  # at most behind the batch that ran


def test_what_is_encoded_repeatably_is_alone_in_its_batches(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[list[Row]] = []
    load = encoder.load

    def watched(rows: Sequence[Row]) -> Callable[[], Vectors]:
        batches.append(list(rows))
        return load(rows)

    monkeypatch.setattr(encoder, "load", watched)
    texts = [f"the cat {'sat ' * (n % 5)}on mat {n}" for n in range(40)]
    own = [Unit(text, "own") for text in texts]
    others = [Unit(f"{text} dog", "other") for text in texts]

    async def scenario() -> tuple[list[list[list[Row]]], list[Encoded]]:
        engine = Engine(encoder, batch_tokens=512, queue_tokens=10**6, shared_batch_tokens=64)
        seen, answers = [], []
        for company in ([], [others], [others[:3], own, others]):
            batches.clear()
            mine, *_ = await asyncio.gather(
                engine.encode_repeatably(own),
                *(engine.encode(each, priority=Priority.JOB) for each in company),
            )
            rows = set(encoder.prepare(own, Options()).rows)
            seen.append([batch for batch in batches if set(batch) <= rows and len(batch) < 20])
            answers.append(mine)
        await engine.close()
        return seen, answers

    (alone, *beside), answers = asyncio.run(scenario())
    assert sum(map(len, alone)) == len(own)
    for seen in beside:
        # `own` of somebody else may have come in batches of its own besides.
        assert all(batch in seen for batch in alone)
    for answer in answers:
        assert answer.vectors.tobytes() == answers[0].vectors.tobytes()


def test_a_cache_gives_the_same_vectors(encoder: Encoder) -> None:
    async def scenario() -> tuple[list[Encoded], QueueState]:
        engine = Engine(encoder, batch_tokens=64, queue_tokens=1_000, cache_bytes=100_000)
        answers = [await engine.encode(_units("the cat", "dog " * 30)) for _ in range(2)]
        await engine.close()
        return answers, engine.queue_state()

    (first, second), state = asyncio.run(scenario())
    np.testing.assert_array_equal(first.vectors, second.vectors)
    assert first.facts == second.facts
    assert state.cached_rows == state.rows > 0


def test_a_full_queue_refuses_and_takes_again_once_it_has_room(tiny_bundle: Bundle) -> None:
    slow, session = gated_encoder(tiny_bundle)

    async def scenario() -> None:
        engine = _engine(slow, queue_tokens=50)
        held = asyncio.create_task(engine.encode(_units(_words(20))))  # 2 windows of 16
        assert await asyncio.to_thread(session.entered.wait, 30)
        with pytest.raises(Overloaded) as caught:
            await engine.encode(_units(_words(20, 3)))
        assert caught.value.retry_after_s >= 1
        session.gate.set()
        await held
        await engine.encode(_units(_words(20, 3)))
        await engine.close()

    asyncio.run(scenario())


def test_a_caller_that_gave_up_makes_room_at_once(tiny_bundle: Bundle) -> None:
    slow, session = gated_encoder(tiny_bundle)

    async def scenario() -> None:
        engine = _engine(slow, queue_tokens=50)
        held = asyncio.create_task(engine.encode(_units(_words(20))))
        assert await asyncio.to_thread(session.entered.wait, 30)
        held.cancel()
        with pytest.raises(asyncio.CancelledError):
            await held
        later = asyncio.create_task(engine.encode(_units(_words(20, 3))))
        session.gate.set()
        await later
        await engine.close()

    asyncio.run(scenario())


def test_a_request_larger_than_the_whole_queue_is_told_so(encoder: Encoder) -> None:
    async def scenario() -> None:
        engine = _engine(encoder, queue_tokens=50)
        with pytest.raises(TooLarge, match=r"has 64 tokens and the queue takes 50 in all"):
            await engine.encode(_units(_words(50)))
        await engine.encode(_units("cat"))
        await engine.close()

    asyncio.run(scenario())


def test_closing_answers_the_accepted_and_refuses_the_rest(tiny_bundle: Bundle) -> None:
    slow, session = gated_encoder(tiny_bundle)

    async def scenario() -> list[Encoded]:
        engine = _engine(slow, batch_tokens=4)
        # The last have not even been tokenised when the engine is told to close.
        tasks = [asyncio.create_task(engine.encode(_units(text))) for text in TEXTS]
        assert await asyncio.to_thread(session.entered.wait, 30)
        late = asyncio.create_task(engine.encode(_units("late but accepted")))
        await asyncio.sleep(0)
        closing = asyncio.create_task(engine.close())
        await asyncio.sleep(0)
        assert not engine.ready
        with pytest.raises(NotReady):
            await engine.encode(_units("too late"))
        session.gate.set()
        await closing
        return [task.result() for task in [*tasks, late]]

    assert [len(encoded.vectors) for encoded in asyncio.run(scenario())] == [1] * 7


@pytest.fixture
def failing(tiny_bundle: Bundle) -> Encoder:
    session = FailingSession(Session.open(tiny_bundle, 1), poison=[VOCABULARY["katze"]])
    return Encoder(tiny_bundle, Tokenizer.open(tiny_bundle), session)


def test_a_failure_of_the_model_ends_its_request_and_frees_the_queue(failing: Encoder) -> None:
    async def scenario() -> None:
        engine = _engine(failing, queue_tokens=40)
        for _ in range(5):
            with pytest.raises(InferenceFailed):
                await engine.encode(_units("katze " * 10))
        await engine.encode(_units("cat " * 10))
        await engine.close()

    asyncio.run(scenario())


def test_rows_that_the_model_loses_are_a_failure_and_no_wrong_vector(tiny_bundle: Bundle) -> None:
    short = Encoder(
        tiny_bundle, Tokenizer.open(tiny_bundle), ShortSession(Session.open(tiny_bundle, 1))
    )

    async def scenario() -> None:
        engine = _engine(short)
        with pytest.raises(InferenceFailed):
            await engine.encode(_units("cat", "dog", "the mat"))
        await engine.close()

    asyncio.run(scenario())
    with pytest.raises(InferenceFailed):
        short.encode(_units("cat", "dog", "the mat"))
