"""From texts to the rows that the model reads: checked, tokenised, routed and cut."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from models.bundle import TEXT_GRANULARITIES, Adapter, Granularity, Manifest
from service.encoding.granularity import route
from service.encoding.states import PreparedStates
from service.encoding.texts import Facts, Options, Prepared, Unit, check_text
from service.encoding.tokenizer import Ids, Integers, LongText, Row, Span, Tokenizer, count, windows
from service.errors import InvalidInput

# What one step of a preparation takes on: about a millisecond in which Python runs nothing else.
_STEP_TEXTS = 64
_STEP_CHARACTERS = 16_384


@dataclass(frozen=True, slots=True)
class _Choice:
    """A text's granularity, and the adapter that the bundle has for it."""

    granularity: Granularity
    adapter: Adapter

    @property
    def coarseness(self) -> int:
        return TEXT_GRANULARITIES.index(self.granularity)


@dataclass(frozen=True, slots=True)
class _Read:
    """A text in tokens, without special ones, and who shall read it."""

    unit: Unit
    content: Ids
    choice: _Choice


_Result = TypeVar("_Result")


def finished(steps: Generator[None, None, _Result]) -> _Result:
    """What `steps` come to, taken one after the other."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _Result = end.value
            return result


class Preparer:
    """Makes rows of texts as one bundle wants them. Safe to call from several threads."""

    def __init__(self, manifest: Manifest, tokenizer: Tokenizer) -> None:
        self._manifest = manifest
        self._tokenizer = tokenizer
        self._routed = {
            granularity: _Choice(granularity, manifest.adapter(manifest.routing[granularity]))
            for granularity in TEXT_GRANULARITIES
        }

    def prepare(self, units: Sequence[Unit], options: Options) -> Prepared:
        """Route, tokenise and cut `units` into rows; equal rows stand once.

        Equal texts of a request thus get the same vector to the last bit. Raises InvalidInput,
        whose `param` is the origin of the text.
        """
        return finished(self.steps(units, options))

    def steps(self, units: Sequence[Unit], options: Options) -> Generator[None, None, Prepared]:
        """`prepare`, with a pause after each piece of about a millisecond."""
        read: list[_Read] = []
        for some in _pieces(units):
            if read:
                yield
            read += self._read(some)
        if options.comparable:
            read = self._comparable(read)
        places: dict[Row, int] = {}
        parts: list[tuple[tuple[int, int], ...]] = []
        facts: list[Facts] = []
        for number, one in enumerate(read):
            if number and number % _STEP_TEXTS == 0:
                yield
            pieces, truncated = self._cut(one, options.long_text)
            rows = [
                Row(self._tokenizer.with_specials(piece), one.choice.adapter.row, options.normalize)
                for piece in pieces
            ]
            parts.append(
                tuple(
                    (places.setdefault(row, len(places)), count(piece))
                    for row, piece in zip(rows, pieces, strict=True)
                )
            )
            tokens = len(rows[0]) if truncated else self._count(one.content)
            facts.append(Facts(one.choice.granularity, one.choice.adapter.name, tokens, truncated))
        return Prepared(tuple(places), tuple(parts), tuple(facts), options.normalize)

    def state_steps(self, units: Sequence[Unit]) -> Generator[None, None, PreparedStates]:
        """The rows that the states of all tokens come from, with a pause after each piece.

        A text longer than its adapter takes is read in overlapping windows. Raises InvalidInput,
        whose `param` is the origin of the text.
        """
        places: dict[Row, int] = {}
        parts: list[tuple[tuple[int, Span], ...]] = []
        offsets: list[Integers] = []
        facts: list[Facts] = []
        for number, some in enumerate(_pieces(units)):
            if number:
                yield
            for unit in some:
                check_text(unit.text, unit.origin)
            tokenised = self._tokenizer.content_with_offsets([unit.text for unit in some])
            for unit, (content, places_in_text) in zip(some, tokenised, strict=True):
                choice = self._choose(unit, count(content))
                spans = windows(
                    count(content), choice.adapter.max_tokens - self._tokenizer.special_count
                )
                rows = [
                    Row(
                        self._tokenizer.with_specials(span.of(content)),
                        choice.adapter.row,
                        states=True,
                    )
                    for span in spans
                ]
                parts.append(
                    tuple(
                        (places.setdefault(row, len(places)), span)
                        for row, span in zip(rows, spans, strict=True)
                    )
                )
                offsets.append(places_in_text)
                facts.append(
                    Facts(choice.granularity, choice.adapter.name, self._count(content), False)
                )
        return PreparedStates(
            tuple(places),
            tuple(parts),
            tuple(offsets),
            tuple(facts),
            self._tokenizer.prefix_count,
        )

    def _read(self, units: Sequence[Unit]) -> list[_Read]:
        for unit in units:
            check_text(unit.text, unit.origin)
        contents = self._tokenizer.content_ids([unit.text for unit in units])
        return [
            _Read(unit, content, self._choose(unit, count(content)))
            for unit, content in zip(units, contents, strict=True)
        ]

    def _count(self, content: Ids) -> int:
        return count(content) + self._tokenizer.special_count

    def _choose(self, unit: Unit, content_length: int) -> _Choice:
        if unit.adapter is not None:
            adapter = self._manifest.adapter(unit.adapter)
            return _Choice(adapter.granularity, adapter)
        if unit.granularity is not None:
            return self._routed[unit.granularity]
        try:
            granularity = route(unit.text)
        except InvalidInput as error:
            raise InvalidInput(error.message, param=unit.origin) from None
        # The router does not know the tokenizer: a text too long for its adapter goes to the
        # next coarser one that takes it, or else to the coarsest.
        coarser = TEXT_GRANULARITIES[TEXT_GRANULARITIES.index(granularity) :]
        needed = content_length + self._tokenizer.special_count
        choices = [self._routed[one] for one in coarser]
        fitting = (choice for choice in choices if needed <= choice.adapter.max_tokens)
        return next(fitting, choices[-1])

    def _comparable(self, read: list[_Read]) -> list[_Read]:
        names = {one.choice.adapter.name for one in read}
        if all(self._manifest.is_comparable(one, other) for one in names for other in names):
            return read
        coarsest = max((one.choice for one in read), key=lambda choice: choice.coarseness)
        return [_Read(one.unit, one.content, coarsest) for one in read]

    def _cut(self, read: _Read, long_text: LongText) -> tuple[list[Ids], bool]:
        """The pieces of a text that the model reads, and whether its end is left out."""
        content, adapter = read.content, read.choice.adapter
        spans = windows(count(content), adapter.max_tokens - self._tokenizer.special_count)
        if len(spans) > 1 and long_text is LongText.TRUNCATE:
            return [spans[0].of(content)], True
        if len(spans) > 1 and long_text is LongText.ERROR:
            origin = read.unit.origin
            raise InvalidInput(
                f"{origin} has {self._count(content)} tokens and adapter {adapter.name} takes "
                f"{adapter.max_tokens}; shorten it, or set long_text to window or truncate",
                param=origin,
            )
        return [span.of(content) for span in spans], False


def _pieces(units: Sequence[Unit]) -> Iterator[list[Unit]]:
    """`units` in order, few enough at a time for one step."""
    some: list[Unit] = []
    characters = 0
    for unit in units:
        if some and (len(some) == _STEP_TEXTS or characters + len(unit.text) > _STEP_CHARACTERS):
            yield some
            some, characters = [], 0
        some.append(unit)
        characters += len(unit.text)
    if some:
        yield some
