"""/align at the levels document and word, and what its fields do."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from models.bundle import Granularity, Manifest
from service.alignment import aligned
from service.alignment.calibration import Calibration
from service.alignment.scoring import Floats, Score
from service.alignment.wanted import Wanted
from service.alignment.words import WordMethod, link_words
from service.app import create_app
from service.encoding.encoder import Encoder
from service.errors import InvalidInput
from service.settings import Settings
from tests.tiny_bundle import ADAPTERS, expected_embedding, expected_tokens, tiny_tokenizer

SENTENCES = ["The cat sat.", "The big red dog sat on the mat.", "Le chat!", "Hund on hund.", "Red!"]


def _post(client: TestClient, **body: object) -> dict[str, Any]:
    response = client.post("/align", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def _pairs(answer: dict[str, Any]) -> list[tuple[list[int], list[int]]]:
    return [(pair["source"], pair["target"]) for pair in answer["pairs"]]


def _is_whole_and_in_order(answer: dict[str, Any], counts: tuple[int, int]) -> None:
    for side, number in zip(("source", "target"), counts, strict=True):
        used = list(itertools.chain(*(pair[side] for pair in answer["pairs"])))
        assert used == sorted(used)
        assert sorted([*used, *answer["unaligned"][side]]) == list(range(number))


def test_equal_documents_align_to_the_identity(client: TestClient) -> None:
    answer = _post(client, source=SENTENCES, target=SENTENCES, level="document")
    assert _pairs(answer) == [([i], [i]) for i in range(5)]
    assert answer["unaligned"] == {"source": [], "target": []}
    assert {pair["granularity"] for pair in answer["pairs"]} == {"sentence"}
    assert "sentences" not in answer
    assert answer["adapter"] == "sentence"


def test_merged_sentences_are_compared_as_paragraphs(client: TestClient) -> None:
    one = [*SENTENCES[:2], f"{SENTENCES[2]} {SENTENCES[3]}", SENTENCES[4]]
    answer = _post(client, source=SENTENCES, target=one, level="document", score="cosine")
    assert _pairs(answer) == [([0], [0]), ([1], [1]), ([2, 3], [2]), ([4], [3])]
    merged = answer["pairs"][2]
    assert merged["granularity"] == "paragraph"
    vector = expected_embedding(one[2], "paragraph")
    assert merged["cosine"] == pytest.approx(float(vector @ vector), abs=1e-5)
    assert answer["pairs"][0]["granularity"] == "sentence"
    _is_whole_and_in_order(answer, (5, 4))


def test_max_merge_holds(client: TestClient) -> None:
    one = ["The cat sat. The big red dog sat on the mat.", "Le chat!"]
    answer = _post(client, source=SENTENCES[:3], target=one, level="document", max_merge=1)
    assert all(len(s) == len(t) == 1 for s, t in _pairs(answer))
    _is_whole_and_in_order(answer, (3, 2))


def test_a_threshold_leaves_pairs_out_and_their_sentences_unaligned(client: TestClient) -> None:
    lists = {"source": SENTENCES, "target": SENTENCES[::-1], "level": "document"}
    every = _post(client, **lists, score="cosine")
    limit = 0.9
    kept = _post(client, **lists, score="cosine", threshold=limit)
    assert _pairs(kept) == [
        (pair["source"], pair["target"]) for pair in every["pairs"] if pair["score"] >= limit
    ]
    _is_whole_and_in_order(kept, (5, 5))
    nothing = _post(client, **lists, score="cosine", threshold=2)
    assert nothing["pairs"] == []
    assert nothing["unaligned"] == {"source": [0, 1, 2, 3, 4], "target": [0, 1, 2, 3, 4]}


def test_a_text_is_split_and_the_offsets_told(client: TestClient) -> None:
    source, target = "The cat sat. The dog sat!\n Red. ", "😀 the cat sat. The dog sat."
    answer = _post(client, source=source, target=target, level="document")
    found = {
        side: [text[start:end] for start, end in answer["sentences"][side]]
        for side, text in (("source", source), ("target", target))
    }
    assert found["source"] == ["The cat sat.", "The dog sat!", "Red."]
    assert found["target"] == ["😀 the cat sat.", "The dog sat."]
    _is_whole_and_in_order(answer, (3, 2))
    mixed = _post(client, source=source, target=["The cat sat."])
    assert mixed["sentences"]["target"] is None
    assert len(mixed["items"]["source"]) == 3


@pytest.mark.parametrize("method", ["mutual", "best", "optimal"])
def test_methods_reach_the_alignment_of_texts(client: TestClient, method: str) -> None:
    answer = _post(client, source=SENTENCES, target=SENTENCES[:3], method=method, score="cosine")
    found = {(pair["source"][0], pair["target"][0]) for pair in answer["pairs"]}
    assert {(0, 0), (1, 1), (2, 2)} <= found
    assert len(found) == (5 if method == "best" else 3)


def test_the_limit_of_texts_holds_for_the_sentences_of_a_text(encoder: Encoder) -> None:
    with TestClient(create_app(Settings(max_items=3), encoder)) as client:
        body = {"source": "A cat. A dog. A mat.", "target": ["The cat."], "level": "document"}
        response = client.post("/align", json=body)
        assert response.status_code == 413
        assert (
            "the request has 4 texts; at most 3 are allowed" in response.json()["error"]["message"]
        )
        assert _post(client, **{**body, "source": "A cat. A dog."})["pairs"]


def test_a_text_may_be_longer_than_one_of_its_sentences(encoder: Encoder) -> None:
    with TestClient(create_app(Settings(max_item_characters=20), encoder)) as client:
        text = "The cat sat. " * 500  # split in a thread
        answer = _post(client, source=text, target=text, level="document")
        assert _pairs(answer) == [([n], [n]) for n in range(500)]
        response = client.post("/align", json={"source": "cat " * 10, "target": ["cat"]})
        assert response.json()["error"]["param"] == "source[0]"


def _word_states(text: str) -> tuple[np.ndarray, list[str]]:
    """Vectors of words that are one token each, and the words."""
    tokenizer = tiny_tokenizer()
    tokenizer.no_truncation()
    tokenizer.no_padding()
    row = next(a["row"] for a in ADAPTERS if a["name"] == "word")
    encoding = tokenizer.encode(text)
    states = expected_tokens(encoding.ids, row)
    places = [i for i, token in enumerate(encoding.tokens) if token.isalpha()]
    return states[places].astype(np.float32), [encoding.tokens[i] for i in places]


@pytest.mark.parametrize("method", WordMethod)
def test_words_are_linked_by_the_states_of_the_word_adapter(
    client: TestClient, method: WordMethod
) -> None:
    sources, targets = ["the cat sat.", "big red dog"], ["le chat, sat", "hund red on the mat!"]
    answer = _post(client, source=sources, target=targets, level="word", method=method)
    assert (answer["granularity"], answer["adapter"]) == ("word", "word")
    assert _pairs(answer) == [([0], [0]), ([1], [1])]
    for source, target, pair in zip(sources, targets, answer["pairs"], strict=True):
        (one, words), (other, other_words) = _word_states(source), _word_states(target)
        assert [source[s:e] for s, e in pair["words"]["source"]] == words
        assert [target[s:e] for s, e in pair["words"]["target"]] == other_words
        expected = link_words(one, other, method)
        assert [(link["source"], link["target"]) for link in pair["links"]] == [
            (link.source, link.target) for link in expected
        ]
        for link, wanted in zip(pair["links"], expected, strict=True):
            assert link["score"] == pytest.approx(wanted.cosine, abs=1e-5)
            assert source[slice(*link["source_span"])] == words[link["source"]]
            assert target[slice(*link["target_span"])] == other_words[link["target"]]
            assert link["probability"] is None


def test_one_sentence_each_and_one_without_words(client: TestClient) -> None:
    answer = _post(client, source="the cat", target="le chat", level="word")
    assert len(answer["pairs"]) == 1
    answer = _post(client, source=["the cat", "red"], target=["!?", "red"], level="word")
    assert answer["pairs"][0]["links"] == []
    assert answer["pairs"][0]["words"] == {"source": [[0, 3], [4, 7]], "target": []}
    assert len(answer["pairs"][1]["links"]) == 1


def test_long_sentences_are_linked_to_their_ends(client: TestClient) -> None:
    text = " ".join(["cat", "dog", "mat", "sat", "on"] * 6)  # 30 words, 16 tokens fit
    answer = _post(client, source=[text], target=[text], level="word", method="optimal")
    (pair,) = answer["pairs"]
    assert len(pair["words"]["source"]) == 30
    assert len(pair["links"]) == 30
    assert answer["items"]["source"][0] == {
        "granularity": "word",
        "adapter": "word",
        "tokens": 32,
        "truncated": False,
    }


def test_many_sentences_are_read_some_at_a_time(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentences = [f"the {word} sat" for word in ("cat", "dog", "mat", "hund", "chat")]
    whole = _post(client, source=sentences, target=sentences[::-1], level="word")
    monkeypatch.setattr("service.api.align._STATES_AT_ONCE", 4)
    assert _post(client, source=sentences, target=sentences[::-1], level="word") == whole
    assert [pair["source"] for pair in whole["pairs"]] == [[0], [1], [2], [3], [4]]


class _Halving(Calibration):
    """A calibration that knows sentences alone: half the cosine."""

    @classmethod
    def of(cls, manifest: Manifest) -> Calibration:
        return cls()

    def probabilities(
        self,
        scores: Floats,
        *,
        score: Score,
        granularity: Granularity,
        languages: tuple[str, str] | None,
    ) -> Floats | None:
        if granularity is not Granularity.SENTENCE or languages != ("en", "de"):
            return None
        return scores / np.float32(2)


def test_probabilities_are_those_of_the_calibration(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aligned, "Calibration", _Halving)
    body = {"source": SENTENCES, "target": SENTENCES, "score": "cosine", "granularity": "sentence"}
    for level in ("text", "document"):
        answer = _post(client, **body, level=level, languages=["en", "de"])
        for pair in answer["pairs"]:
            assert pair["probability"] == pytest.approx(pair["score"] / 2, abs=1e-5)
        unknown = _post(client, **body, level=level)
        assert {pair["probability"] for pair in unknown["pairs"]} == {None}


def test_a_least_probability_keeps_the_pairs_that_reach_it() -> None:
    wanted = Wanted.of("text", min_probability=0.3, languages=("en", "de"))
    judge = aligned.Judge(_Halving(), wanted, "tiny")
    sentence = [Granularity.SENTENCE]
    (low,), (high,) = judge.probabilities([0.5], sentence), judge.probabilities([0.7], sentence)
    assert not judge.passes(0.5, low)
    assert judge.passes(0.7, high)
    with pytest.raises(InvalidInput, match="of granularity phrase; use threshold"):
        judge.probabilities([0.7], [Granularity.PHRASE])
