"""Terms with rows of their own, against what is computed text by text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from tests.training.terms.tiny import (
    NAME,
    draw,
    gradients,
    setting,
    trainable,
)
from training import adapters
from training.aligner import Aligner
from training.augmentation.crops import crop_pair
from training.backbone import masked_mean
from training.dictionary import Dictionary, Word
from training.embedding import Encoder
from training.objectives.contrastive import Direction, momentum_contrast, nt_xent
from training.objectives.late import late_info_nce
from training.positives import Positive, sides
from training.romanisation import romanise
from training.terms.crops import Crops
from training.terms.masked import Masked, token_table
from training.terms.term import Draw
from training.terms.words import TokenAlignment


def states(encoder: Encoder, texts: list[str], adapter: str | None = NAME) -> list[Tensor]:
    """The token states of each text, computed by itself."""
    adapters.select(encoder.backbone.model, adapter)
    found = []
    for ids in encoder.backbone.tokenize(texts, 16):
        padded, mask = encoder.backbone.pad([ids])
        with torch.no_grad():
            output = encoder.backbone.model(input_ids=padded, attention_mask=mask)
        found.append(output.last_hidden_state[0])
    return found


def vectors(encoder: Encoder, texts: list[str], adapter: str | None = NAME) -> Tensor:
    found = states(encoder, texts, adapter)
    return torch.cat([masked_mean(each[None], torch.ones(1, len(each))) for each in found])


def test_hard_negatives_are_near_on_the_left_and_of_the_pool(encoder: Encoder) -> None:
    made = setting(encoder, {"hard_negatives": 1.0})
    metrics, _ = gradients(made)
    pairs = draw(0, 8)
    # The batches behind the stage's last: 5 steps of 8 pairs, so numbers 5 and 6.
    pool = [*draw(5, 8), *draw(6, 8)]
    near = normalize(vectors(encoder, [each.left.text for each in pairs], None)).numpy()
    far = normalize(vectors(encoder, [each.left.text for each in pool], None)).numpy()
    left, right, hard = (
        normalize(vectors(encoder, texts)).numpy().astype(np.float64)
        for texts in (
            [each.left.text for each in pairs],
            [each.right.text for each in pairs],
            [each.right.text for each in pool],
        )
    )
    losses, kept = [], 0
    for row in range(8):
        # By definition: the two nearest texts below the share, of the pool and the batch; of
        # these, what is in the batch is a negative in any case.
        scores = [(float(near[row] @ each), place) for place, each in enumerate(far)]
        scores += [(float(near[row] @ each), -1) for each in np.delete(near, row, axis=0)]
        chosen = sorted((each for each in scores if each[0] < 0.95), reverse=True)[:2]
        mined = [place for _, place in chosen if place >= 0]
        kept += len(mined)
        cosines = np.concatenate([right @ left[row], hard[mined] @ left[row]]) / 0.1
        losses.append(np.log(np.exp(cosines).sum()) - cosines[row])
    assert kept > 0
    assert metrics["hard_negatives"] == pytest.approx(kept / 8)
    assert metrics["loss"] == pytest.approx(np.mean(losses), rel=1e-4)


def test_texts_in_latin_letters_are_not_romanised(encoder: Encoder) -> None:
    metrics, _ = gradients(setting(encoder, {"transliteration": 1.0}))
    texts = [each.text for each in sides(draw(0, 8)) if each.language in ("ru", "ja")]
    assert 2 < len(texts) < 8
    read = [romanise(text) for text in texts]
    expected = nt_xent(vectors(encoder, texts), vectors(encoder, read), 0.1)
    assert metrics["loss"] == pytest.approx(expected.item(), rel=1e-4)


def test_a_batch_in_latin_letters_gives_nothing_to_transliterate(encoder: Encoder) -> None:
    made = setting(encoder, {"transliteration": 1.0}, batch_pairs=2)
    # Pairs 0 and 1 of 60 are German and Russian: one text of another script is no contrast.
    metrics, found = gradients(made)
    assert metrics["loss"] == 0
    assert all(not each.any() for each in found)


def test_crops_are_contrasted_with_a_queue_that_an_encoder_of_its_own_fills(
    encoder: Encoder,
) -> None:
    made = setting(encoder, {"crops": 1.0}, crops={"queue": 12, "momentum": 0.75})
    parameters = trainable(encoder)
    term = Crops(made)
    before = [each.detach().clone() for each in parameters]
    queue = torch.zeros(0, 32)
    for number in range(2):
        batch = Draw(number, draw(number, 8), made)
        rng = batch.rng(0xC0)
        cut = [crop_pair(each.right.text, rng, 0.1, 0.5) for each in batch.positives]
        crops = [each for each in cut if each is not None]
        assert len(crops) == 8
        queries = vectors(encoder, [each[0] for each in crops])
        now = [each.detach().clone() for each in parameters]
        _put(parameters, before)
        keys = vectors(encoder, [each[1] for each in crops])
        _put(parameters, now)
        adapters.select(encoder.backbone.model, NAME, train=True)
        metrics = term.backward(term.prepare(batch), 1.0)
        loss = momentum_contrast(queries, keys, queue, 0.05, in_batch=True)
        assert metrics["loss"] == pytest.approx(loss.item(), rel=1e-4)
        queue = torch.cat([queue, normalize(keys)])
        _put(parameters, [each + 0.1 for each in now])
        term.finish()
        before = [0.75 * old + 0.25 * new for old, new in zip(before, parameters, strict=True)]
        held = term.state["crops.keys"].state_dict()["weights"]
        for own, value in zip(held, before, strict=True):
            torch.testing.assert_close(own, value)
    # 16 keys came, and the newest 12 stay.
    kept = term.state["crops.queue"].state_dict()["keys"]
    assert len(kept) == 12
    assert torch.allclose((kept @ queue[4:].T).amax(1), torch.ones(12), atol=1e-5)


def _put(parameters: list[torch.nn.Parameter], values: list[Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)


def test_masked_tokens_are_guessed_by_the_token_table(encoder: Encoder) -> None:
    made = setting(encoder, {"masked": 1.0}, masking={"mask_token": "[UNK]", "share": 0.3})
    trainable(encoder)
    term = Masked(made)
    prepared = term.prepare(Draw(0, draw(0, 8), made))
    metrics = term.backward(prepared, 1.0)
    true = sorted(encoder.backbone.tokenize([each.text for each in sides(draw(0, 8))], 16))
    table, losses, whole = token_table(encoder.backbone), [], []
    for chunk, labels in zip(prepared.batch.chunks, prepared.labels, strict=True):
        found = encoder.states(chunk).detach()
        chosen = labels != -100
        logits = (found[chosen] @ table.T).log_softmax(-1)
        losses += (-logits.gather(1, labels[chosen][:, None])).flatten().tolist()
        # What was there before: the labels where there are any, else what is seen.
        for row, own, mask in zip(chunk.ids, labels, chunk.mask, strict=True):
            whole.append(torch.where(own != -100, own, row)[: int(mask.sum())].tolist())
    assert sorted(whole) == true
    assert len(losses) == prepared.guessed > 10
    assert metrics["loss"] == pytest.approx(np.mean(losses), rel=1e-4)


def test_late_interaction_is_of_the_texts_own_tokens(encoder: Encoder) -> None:
    metrics, _ = gradients(setting(encoder, {"late_interaction": 1.0}, direction="symmetric"))
    pairs = draw(0, 8)
    found = states(encoder, [each.text for each in sides(pairs)])
    padded = torch.nn.utils.rnn.pad_sequence(found, batch_first=True)
    lengths = torch.tensor([len(each) for each in found])
    mask = torch.arange(padded.shape[1]) < lengths[:, None]
    left, right = padded.chunk(2)
    masks = mask.chunk(2)
    expected = late_info_nce(left, right, masks[0], masks[1], 0.1, Direction.SYMMETRIC)
    assert metrics["loss"] == pytest.approx(expected.item(), rel=1e-4)


POOL = 40  # pairs that an aligner is fitted to


def _words(encoder: Encoder, pair: Positive) -> list[list[str]]:
    """The words of both texts, one word of the tiny corpus being one token."""
    texts = [pair.left.text, pair.right.text]
    return [
        [text[first:end] for first, end in encoding.offsets[1:-1]]
        for text, encoding in zip(texts, encoder.backbone.encode(texts, 16), strict=True)
    ]


def _aligners(encoder: Encoder) -> dict[str, Aligner]:
    """Fitted to the pool's pairs, each pair once."""
    pairs = {(each.left.text, each.right.text): each for each in draw(0, POOL)}.values()
    return {
        language: Aligner.fit(
            (left, right)
            for left, right in (
                _words(encoder, each) for each in pairs if each.right.language == language
            )
        )
        for language in {each.right.language for each in pairs}
    }


def _word_loss(encoder: Encoder, partners: str, groups: Path | None) -> tuple[float, float]:
    """Loss and accuracy by definition."""
    losses: dict[int, list[float]] = {0: [], 1: []}
    hits: dict[int, list[bool]] = {0: [], 1: []}
    known = None if groups is None else Dictionary.read(groups)
    aligners = _aligners(encoder) if partners == "aligner" else {}
    for each in draw(0, 8):
        texts = [each.left.text, each.right.text]
        words = _words(encoder, each)
        own, plain = (
            [normalize(found[1:-1], dim=-1) for found in states(encoder, texts, name)]
            for name in (NAME, None)
        )
        near = (own[0] @ own[1].T).numpy()
        teacher = (plain[0] @ plain[1].T).numpy() if partners == "backbone" else near
        linked = np.zeros_like(near, dtype=bool)
        if aligners:
            for link in aligners[each.right.language].links(*words):
                linked[link] = True
        for i, left in enumerate(words[0]):
            for j, right in enumerate(words[1]):
                if aligners:
                    break
                if known is None:
                    linked[i, j] = teacher[i].argmax() == j and teacher[:, j].argmax() == i
                else:
                    into = known.partners("en", left, [each.right.language])
                    linked[i, j] = left == right or right.casefold() in {
                        word.word.casefold() for word in into
                    }
        for side, (scores, links) in enumerate(((near, linked), (near.T, linked.T))):
            for row, link in zip(scores / 0.1, links, strict=True):
                if partners == "own" and not link.any():
                    hits[side].append(False)  # of all words
                if link.any():
                    partners_share = np.exp(row[link]).sum() / np.exp(row).sum()
                    losses[side].append(-np.log(partners_share))
                    hits[side].append(bool(link[row.argmax()]))
    loss = sum(np.mean(each) for each in losses.values()) / 2
    return float(loss), sum(float(np.mean(each)) for each in hits.values()) / 2


@pytest.mark.parametrize("partners", ["backbone", "own", "dictionary", "aligner"])
def test_words_are_aligned_with_their_partners(
    encoder: Encoder, tmp_path: Path, partners: str
) -> None:
    file = None
    if partners == "dictionary":
        file = tmp_path / "words.parquet"
        german = [("red", "rot"), ("green", "grün"), ("blue", "Blau")]
        russian = [("river", "река"), ("new", "новый")]
        Dictionary.of(
            [Word("en", one), Word(language, other)]
            for language, pairs in (("de", german), ("ru", russian))
            for one, other in pairs
        ).write(file)
    made = setting(
        encoder,
        {"token_alignment": 1.0},
        tokens={"partners": partners, "dictionary": file, "pool": POOL},
        temperature=0.3,  # the term has a temperature of its own
    )
    metrics, _ = gradients(made)
    loss, accuracy = _word_loss(encoder, partners, file)
    assert metrics["loss"] == pytest.approx(loss, rel=1e-3)
    assert 0 < metrics["partnered_words"] <= 1
    term = TokenAlignment(made)
    measured = term.measure(term.batch(draw(0, 8)))
    assert measured["validation_loss"] == pytest.approx(loss, rel=1e-3)
    if partners == "own":  # of all words
        assert measured["validation_accuracy"] == pytest.approx(
            metrics["partnered_words"], abs=0.15
        )
    else:
        assert measured["validation_accuracy"] == pytest.approx(accuracy, abs=1e-6)
