from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from models.bundle import TEXT_GRANULARITIES, Granularity
from tests.tiny_training import LANGUAGES, write_table
from training.corpora.overlap import fingerprint, fingerprints
from training.corpora.rows import Row
from training.corpora.table import Entity
from training.cross import CrossSampler, Kind, hold_out_entities, kind_name, load_entities
from training.errors import TrainingError

PHRASE, SENTENCE, PARAGRAPH = TEXT_GRANULARITIES


def _load(
    table: Path, excerpts: bool = True, banned: frozenset[bytes] = frozenset()
) -> list[Entity]:
    languages = ("en", *LANGUAGES)
    return load_entities(table, TEXT_GRANULARITIES, languages, banned, frozenset(), excerpts)


def _row(id_: str, granularity: str, language: str, text: str) -> Row:
    return Row(id_, "made", "CC0", granularity, language, text)


def test_entities_of_one_granularity_are_left_out_and_paragraphs_serve_excerpts(
    tmp_path: Path,
) -> None:
    rows = [
        _row("name", "phrase", "en", "bridge"),
        _row("name", "phrase", "de", "Brücke"),
        _row("both", "phrase", "de", "Haus"),
        _row("both", "sentence", "en", "Where people live."),
        _row("long", "paragraph", "en", "One thing is here. Another thing is there."),
        _row("long", "paragraph", "de", "Eine Sache ist hier. Eine andere ist dort."),
        _row("planted", "phrase", "en", "river"),
        _row("planted", "sentence", "en", "It is in the test set."),
        _row("foreign", "phrase", "xx", "grmpf"),
        _row("foreign", "sentence", "en", "Nobody asked for this language."),
    ]
    table = write_table(tmp_path / "c.parquet", rows)
    banned = fingerprints(["it is in the TEST set"])
    assert [each.alignment_id for each in _load(table, True, banned)] == ["both", "long"]
    assert [each.alignment_id for each in _load(table, False, banned)] == ["both"]


def test_a_folder_of_translations_has_no_entities(corpus_folder: Path) -> None:
    with pytest.raises(TrainingError, match="need a corpus table: make one with"):
        _load(corpus_folder)


def test_held_out_entities_are_the_same_in_any_order(entity_table: Path) -> None:
    entities = _load(entity_table)
    kept, held = hold_out_entities(entities, 4)
    assert len(held) == 4
    assert {each.alignment_id for each in held} == {
        each.alignment_id for each in hold_out_entities(entities[::-1], 4)[1]
    }
    assert not {each.alignment_id for each in held} & {each.alignment_id for each in kept}
    assert len(kept) + len(held) == len(entities) == 60
    assert len(hold_out_entities(entities, 40)[1]) == 6  # a tenth at most


def test_a_pair_is_a_finer_and_a_coarser_text_of_one_entity_in_two_languages(
    entity_table: Path,
) -> None:
    entities = _load(entity_table)
    texts = {
        (each.alignment_id, row.granularity, row.language): row.text
        for each in entities
        for row in each.rows
    }
    sampler = CrossSampler(entities, 0.5, 1, excerpts=True)
    kinds: Counter[str] = Counter()
    for number in range(40):
        batch = sampler.batch(number, 15)
        assert len({finer.alignment_id for finer, _ in batch}) == 15
        assert len({row.text.casefold() for pair in batch for row in pair}) == 30
        for finer, coarser in batch:
            assert finer.alignment_id == coarser.alignment_id
            assert finer.language != coarser.language
            assert texts[finer.alignment_id, coarser.granularity, coarser.language] == coarser.text
            kind = f"{finer.granularity}-{coarser.granularity}"
            if texts[finer.alignment_id, finer.granularity, finer.language] != finer.text:
                paragraph = texts[finer.alignment_id, "paragraph", finer.language]
                assert coarser.granularity == "paragraph"
                assert finer.text in paragraph
                assert finer.text != paragraph
                kind += "-excerpt"
            kinds[kind] += 1
    names = {kind_name(kind) for kind in sampler.kinds}
    assert names == {
        *("phrase-sentence", "phrase-paragraph", "sentence-paragraph"),
        *("phrase-paragraph-excerpt", "sentence-paragraph-excerpt"),
    }
    assert set(kinds) == names
    assert min(kinds.values()) > 60  # of 600: each kind is as likely, 120 expected


def test_a_batch_is_a_function_of_seed_and_number(entity_table: Path) -> None:
    def sampler(seed: int) -> CrossSampler:
        return CrossSampler(_load(entity_table), 0.5, seed, excerpts=True)

    here, again, other = sampler(1), sampler(1), sampler(2)
    again.batch(3, 10)
    assert here.batch(7, 10) == again.batch(7, 10)
    assert here.batch(7, 10) != here.batch(8, 10)
    assert here.batch(7, 10) != other.batch(7, 10)


def test_rare_languages_are_lifted_by_the_exponent() -> None:
    def entities(language: str, count: int) -> list[Entity]:
        return [
            Entity(
                f"{language}{n}",
                (
                    _row(f"{language}{n}", "phrase", "en", f"name {language} {n}"),
                    _row(f"{language}{n}", "sentence", language, f"what {n} is in {language}"),
                ),
            )
            for n in range(count)
        ]

    made = entities("de", 900) + entities("sw", 100)
    for exponent, expected in ((1.0, 0.1), (0.5, 0.25), (0.0, 0.5)):
        sampler = CrossSampler(made, exponent, 1, excerpts=False)
        drawn = [pair for number in range(40) for pair in sampler.batch(number, 25)]
        share = sum(coarser.language == "sw" for _, coarser in drawn) / len(drawn)
        assert share == pytest.approx(expected, abs=0.05)


def test_one_of_each_serves_every_entity_that_has_the_kind(entity_table: Path) -> None:
    entities = _load(entity_table)
    sampler = CrossSampler(entities, 0.5, 1, excerpts=True)
    kind = Kind(Granularity.PHRASE, Granularity.PARAGRAPH, False)
    pairs = sampler.one_of_each(kind)
    assert [finer.alignment_id for finer, _ in pairs] == [each.alignment_id for each in entities]
    assert pairs == sampler.one_of_each(kind)
    cut = sampler.one_of_each(Kind(Granularity.SENTENCE, Granularity.PARAGRAPH, True))
    assert len(cut) > 40
    assert len({fingerprint(finer.text) for finer, _ in cut}) == len(cut)


def test_too_few_entities_are_refused(entity_table: Path) -> None:
    sampler = CrossSampler(_load(entity_table), 0.5, 1, excerpts=False)
    with pytest.raises(TrainingError, match=r"wants 61 pairs .* has 60 that differ"):
        sampler.batch(0, 61)
    with pytest.raises(TrainingError, match="holds no pairs of different granularity"):
        CrossSampler([], 0.5, 1, excerpts=True)
