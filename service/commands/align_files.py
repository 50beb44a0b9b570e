"""`polygrain align`: the work of POST /align on two files, without a server."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import click

from models.bundle import Granularity
from service.alignment import aligned
from service.alignment.aligned import Aligned, Judge, LinkedSentences
from service.alignment.blocks import Block
from service.alignment.document_texts import Document, joined
from service.alignment.documents import Plan
from service.alignment.page import texts_page, words_page
from service.alignment.wanted import Level, Wanted
from service.api.align import links_json, pair_json
from service.api.responses import write_json
from service.commands.files import Reading, file_units, open_encoder, written_whole
from service.encoding.encoder import Encoder, Options, Unit
from service.encoding.granularity import word_adapter
from service.settings import Settings

# Pairs of sentences whose token states are held at a time.
_CHUNK_PAIRS = 128


@dataclass(frozen=True, slots=True)
class Output:
    """What is written: lines of `form` to standard output, and a page where one is asked for."""

    form: str = "tsv"
    page: Path | None = None


@dataclass(frozen=True, slots=True)
class _Side:
    """The texts of one file, each with the number that it is known by."""

    name: str
    numbers: tuple[int, ...]
    document: Document
    units: tuple[Unit, ...]


def align_files(
    source: IO[bytes],
    target: IO[bytes],
    reading: Reading,
    wanted: Wanted,
    settings: Settings,
    output: Output,
    *,
    raw: bool = False,
) -> None:
    """Write what belongs together in two files, whose lines are texts, or with `raw` all one text.

    Raises InvalidInput as POST /align does, and ClickException for files that cannot be read so.
    """
    page = output.page
    if page is not None and not page.parent.is_dir():  # told before the work, not after it
        raise click.ClickException(f"{page} cannot be written: there is no folder {page.parent}")
    read = _raw_side if raw else _side
    sides = (
        read(source, reading, wanted.source_language),
        read(target, reading, wanted.target_language),
    )
    if wanted.level is Level.WORD:
        sides = _parallel(*sides, reading.skip_blank)
    encoder = open_encoder(settings)
    judge = Judge.of(encoder.manifest, wanted)
    if wanted.level is Level.WORD:
        linked = list(_words(encoder, *sides, wanted, judge, settings.batch_tokens))
        lines: Iterable[bytes] = _word_lines(*sides, linked, output.form)
    else:
        find = _texts if wanted.level is Level.TEXT else _documents
        found = find(encoder, *sides, wanted, judge, settings.batch_tokens)
        lines = _pair_lines(*sides, found, output.form)
    sys.stdout.buffer.writelines(lines)
    sys.stdout.buffer.flush()
    if page is not None:
        names = sides[0].name, sides[1].name
        title = f"{names[0]} and {names[1]}"
        texts = sides[0].document.sentences, sides[1].document.sentences
        if wanted.level is Level.WORD:
            html = words_page(title, zip(*texts, linked, strict=True), names)
        else:
            html = texts_page(title, names, *texts, found)
        with written_whole(page) as file:
            file.write(html.encode())


def _side(file: IO[bytes], reading: Reading, language: str | None) -> _Side:
    numbered = file_units(file, reading)
    units = tuple(unit for _, unit in numbered)
    document = Document(tuple(unit.text for unit in units))
    return _Side(file.name, tuple(number for number, _ in numbered), document, units)


def _raw_side(file: IO[bytes], reading: Reading, language: str | None) -> _Side:
    try:
        text = file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise click.ClickException(
            f"{file.name} is not UTF-8 (byte {error.start}); convert the file"
        ) from None
    document = Document.of(text, file.name, language)
    numbers = tuple(range(1, 1 + len(document.sentences)))
    units = tuple(
        reading.unit(sentence, f"{file.name} sentence {number}")
        for number, sentence in zip(numbers, document.sentences, strict=True)
    )
    return _Side(file.name, numbers, document, units)


def _parallel(source: _Side, target: _Side, skip_blank: bool) -> tuple[_Side, _Side]:
    """Both sides line by line; with `skip_blank` without lines that are blank in one of them."""
    both = set(source.numbers) & set(target.numbers)
    if not skip_blank and not len(both) == len(source.numbers) == len(target.numbers):
        raise click.ClickException(
            f"{source.name} has {len(source.numbers)} texts and {target.name} "
            f"{len(target.numbers)}; at level word each source stands with its translation: give "
            "as many of both"
        )
    if not both:
        raise click.ClickException(f"{source.name} and {target.name} have no line in common")
    return _only(source, both), _only(target, both)


def _only(side: _Side, numbers: set[int]) -> _Side:
    kept = [place for place, number in enumerate(side.numbers) if number in numbers]
    return _Side(
        side.name,
        tuple(side.numbers[place] for place in kept),
        Document(tuple(side.document.sentences[place] for place in kept)),
        tuple(side.units[place] for place in kept),
    )


def _texts(
    encoder: Encoder, source: _Side, target: _Side, wanted: Wanted, judge: Judge, batch_tokens: int
) -> Aligned:
    units, cut = [*source.units, *target.units], len(source.units)
    encoded = encoder.encode(units, Options(comparable=True), batch_tokens=batch_tokens)
    vectors, facts = encoded.vectors, encoded.facts
    return aligned.texts(vectors[:cut], vectors[cut:], facts[:cut], facts[cut:], wanted, judge)


def _documents(
    encoder: Encoder, source: _Side, target: _Side, wanted: Wanted, judge: Judge, batch_tokens: int
) -> Aligned:
    single = source.units[0].granularity or Granularity.SENTENCE

    def vectors(units: Sequence[Unit]) -> Any:  # noqa: ANN401  (an array)
        return encoder.encode(units, batch_tokens=batch_tokens).vectors

    sources, targets = (
        vectors([Unit(unit.text, unit.origin, single) for unit in side.units])
        for side in (source, target)
    )
    plan = Plan(sources, targets, max_merge=wanted.max_merge)

    def block_vectors(side: _Side, blocks: Sequence[Block]) -> Any:  # noqa: ANN401
        units = [
            Unit(side.document.block(block), side.units[block.start].origin, Granularity.PARAGRAPH)
            for block in blocks
        ]
        return vectors(units) if units else sources[:0]

    matches = plan.matches(
        block_vectors(source, plan.source_blocks),
        block_vectors(target, plan.target_blocks),
        score=wanted.score,
        k=wanted.k,
    )
    return aligned.documents(matches, len(sources), len(targets), single, judge)


def _words(
    encoder: Encoder, source: _Side, target: _Side, wanted: Wanted, judge: Judge, batch_tokens: int
) -> Iterator[LinkedSentences]:
    adapter = word_adapter(encoder.manifest).name
    for start in range(0, len(source.units), _CHUNK_PAIRS):
        some = [
            Unit(unit.text, unit.origin, adapter=adapter)
            for side in (source, target)
            for unit in side.units[start : start + _CHUNK_PAIRS]
        ]
        states = encoder.encode_states(some, batch_tokens=batch_tokens)
        cut = len(some) // 2
        for place in range(cut):
            one, other = (
                (some[place].text, states[place]),
                (some[cut + place].text, states[cut + place]),
            )
            yield aligned.words(one, other, wanted, judge)


def _pair_lines(source: _Side, target: _Side, found: Aligned, form: str) -> Iterator[bytes]:
    for pair in found.pairs:
        numbers = [
            [side.numbers[place] for place in places]
            for side, places in ((source, pair.source), (target, pair.target))
        ]
        texts = [
            joined(side.document.sentences[place] for place in places)
            for side, places in ((source, pair.source), (target, pair.target))
        ]
        if form == "jsonl":
            numbered = {"source": numbers[0], "target": numbers[1]}
            named = {"source_text": texts[0], "target_text": texts[1]}
            yield write_json({**pair_json(pair, level=found.level), **numbered, **named}) + b"\n"
        else:
            scores = [f"{pair.score:.6f}", f"{pair.cosine:.6f}"]
            yield _row([*scores, *(",".join(map(str, one)) for one in numbers), *texts])


def _word_lines(
    source: _Side, target: _Side, linked: Sequence[LinkedSentences], form: str
) -> Iterator[bytes]:
    for number, one, other, links in zip(
        source.numbers, source.document.sentences, target.document.sentences, linked, strict=True
    ):
        if form == "jsonl":
            yield write_json({"line": number, **links_json(links)}) + b"\n"
            continue
        for link in links.links:
            spans = links.source_words[link.source], links.target_words[link.target]
            words = [text[s:e] for text, (s, e) in zip((one, other), spans, strict=True)]
            places = [str(place) for span in spans for place in span]
            yield _row([f"{link.cosine:.6f}", str(number), *places, *words])


def _row(fields: Iterable[str]) -> bytes:
    cells = (" ".join(field.splitlines()).replace("\t", " ") for field in fields)
    return "\t".join(cells).encode() + b"\n"
