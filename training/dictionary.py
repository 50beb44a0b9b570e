"""A dictionary of many languages: words that stand under one meaning are each other's partners.

It comes from the word lists of a corpus table, or from a user's file of word pairs, and is kept as
one Parquet file, its rows sorted by meaning:

    meaning int32, language string, word string; metadata `polygrain.dictionary`: format_version
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models.bundle import Granularity
from training.augmentation.pieces import clusters, pieces
from training.corpora.scripts import is_unspaced
from training.corpora.table import read_report, read_table
from training.corpora.tsv import open_text, table_rows
from training.errors import TrainingError
from training.files import replace

# Sources of the corpora whose phrases are words, or nearly all of them.
WORD_LISTS = ("omw", "panlex_bli", "tico19_terms")
WORD_PAIRS_COLUMNS = ("lang_a", "lang_b", "word_a", "word_b")
METADATA_KEY = b"polygrain.dictionary"
FORMAT_VERSION = 1
# Longer entries are no words, in grapheme clusters: of scripts with spaces, and without.
_LONGEST_WORD, _LONGEST_UNSPACED = 40, 8

_SCHEMA = pa.schema(
    [
        pa.field("meaning", pa.int32(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("word", pa.string(), nullable=False),
    ]
)

Integers = NDArray[np.int64]


class Word(NamedTuple):
    """A word and its language."""

    language: str
    word: str


@dataclass(frozen=True, slots=True)
class Partner:
    """A word of another language, and how many meanings it shares with the word asked for."""

    language: str
    word: str
    meanings: int


class Dictionary:
    """Words of many languages by meaning, looked up without regard to case."""

    def __init__(self, table: pa.Table) -> None:
        """From rows of meaning, language and word, sorted by meaning; `of` is the usual way."""
        languages, language = _encode(table["language"])
        meaning = table["meaning"].to_numpy().astype(np.int64)
        # A meaning that only one language has says nothing.
        spoken = np.unique(meaning * len(languages) + language) // max(1, len(languages))
        shared = np.isin(meaning, spoken[1:][spoken[1:] == spoken[:-1]])
        self._table = table.filter(pa.array(shared))
        self._languages, self._language = languages, language[shared]
        self._words, self._word = _encode(self._table["word"])
        # Numbered without gaps, so that the rows of a meaning are found by place.
        _, self._meaning = np.unique(meaning[shared], return_inverse=True)
        self._bounds = np.searchsorted(self._meaning, np.arange(self._meaning.max(initial=-1) + 2))
        self._number = {languages[each]: int(each) for each in np.unique(self._language)}
        self._forms: dict[str, int] = {}
        form = [self._forms.setdefault(_fold(word), len(self._forms)) for word in self._words]
        keys = self._language * len(form) + np.array(form, np.int64)[self._word]
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]
        # A word stands in many texts.
        self._partner_forms = lru_cache(1 << 16)(self._folded_partners)

    @classmethod
    def of(cls, meanings: Iterable[Iterable[Word]]) -> Self:
        """A dictionary of groups of words that mean the same."""
        numbers: list[int] = []
        words: list[Word] = []
        for number, group in enumerate(meanings):
            found = dict.fromkeys(group)
            words += found
            numbers += [number] * len(found)
        columns = (numbers, [word.language for word in words], [word.word for word in words])
        arrays = [pa.array(each, kind.type) for each, kind in zip(columns, _SCHEMA, strict=True)]
        return cls(pa.table(arrays, schema=_SCHEMA))

    @classmethod
    def read(cls, file: Path, languages: Iterable[str] | None = None) -> Self:
        """Read what `write` wrote, or of it what is in `languages`.

        Raises TrainingError where `file` is no dictionary.
        """
        try:
            table = pq.read_table(file)
        except (OSError, pa.ArrowException) as error:
            raise TrainingError(f"{file} is no dictionary: {error}") from None
        raw = (table.schema.metadata or {}).get(METADATA_KEY)
        version = None if raw is None else json.loads(raw).get("format_version")
        if version != FORMAT_VERSION or table.schema.remove_metadata() != _SCHEMA:
            raise TrainingError(
                f"{file} is no dictionary of format {FORMAT_VERSION}; make it by "
                "`polygrain-train corpus dictionary`"
            )
        if languages is not None:
            wanted = pa.array(sorted(set(languages)), pa.string())
            table = table.filter(pc.is_in(table["language"], wanted))
        return cls(table.replace_schema_metadata(None))

    def write(self, file: Path) -> None:
        """Write the dictionary as a file; FileExistsError where there is one."""
        if file.exists():
            raise FileExistsError(f"{file} exists; choose another name or delete it")
        metadata = {METADATA_KEY: json.dumps({"format_version": FORMAT_VERSION})}
        table = self._table.replace_schema_metadata(metadata)
        replace(file, lambda path: pq.write_table(table, path, compression="zstd"))

    @property
    def languages(self) -> tuple[str, ...]:
        """Its languages, sorted."""
        return tuple(sorted(self._number))

    def __len__(self) -> int:
        """How many words it has, one that stands under several meanings counted for each."""
        return int(self._table.num_rows)

    def meanings(self) -> Iterator[list[Word]]:
        """The words of each meaning."""
        rows = map(Word, self._table["language"].to_pylist(), self._table["word"].to_pylist())
        for _, group in groupby(zip(self._meaning.tolist(), rows, strict=True), itemgetter(0)):
            yield [word for _, word in group]

    def knows(self, language: str, word: str) -> bool:
        """Whether `word` has a partner in any other language."""
        return len(self._rows_of(language, word)) > 0

    def partners(
        self, language: str, word: str, into: Collection[str] | None = None
    ) -> tuple[Partner, ...]:
        """The partners of `word` in the languages `into`, or in all others: those that share the
        most meanings with it first, then as they stand in the dictionary. Never in `language`."""
        rows = self._rows_of(language, word)
        if not len(rows):
            return ()
        meanings = np.unique(self._meaning[rows])
        found = np.concatenate([np.arange(*self._bounds[each : each + 2]) for each in meanings])
        wanted = self._number if into is None else into
        numbers = [self._number.get(each, -1) for each in wanted if each != language]
        found = found[np.isin(self._language[found], numbers)]
        counts: dict[tuple[int, int], int] = {}
        for pair in zip(self._language[found].tolist(), self._word[found].tolist(), strict=True):
            counts[pair] = counts.get(pair, 0) + 1
        return tuple(
            Partner(self._languages[number], self._words[place], count)
            for (number, place), count in sorted(counts.items(), key=lambda item: -item[1])
        )

    def links(
        self, left: Sequence[str], left_language: str, right: Sequence[str], right_language: str
    ) -> list[tuple[int, int]]:
        """Which words of two texts are partners, or the same but for case: places in both, sorted.
        They are the positives of VECO 2.0's token alignment (Zhang et al., 2023)."""
        places: dict[str, list[int]] = {}
        for place, word in enumerate(right):
            places.setdefault(_fold(word), []).append(place)
        found = []
        for place, word in enumerate(left):
            forms = {_fold(word), *self._partner_forms(left_language, word, right_language)}
            found += [(place, other) for form in forms for other in places.get(form, ())]
        return sorted(found)

    def _folded_partners(self, language: str, word: str, into: str) -> frozenset[str]:
        return frozenset(_fold(each.word) for each in self.partners(language, word, (into,)))

    def _rows_of(self, language: str, word: str) -> Integers:
        number = self._number.get(language)
        form = self._forms.get(_fold(word))
        if number is None or form is None:
            return self._order[:0]
        key = number * len(self._words) + form
        first, end = np.searchsorted(self._keys, [key, key + 1])
        return self._order[first:end]


def from_table(
    table: Path, sources: Collection[str] = WORD_LISTS, languages: Iterable[str] | None = None
) -> Dictionary:
    """A dictionary of the phrases of one word in those `sources` of a corpus table: the words under
    one alignment id mean the same.

    Raises TrainingError where `table` is no corpus table, has no such source, or gives no words.
    """
    known = read_report(table).get("sources", {})
    if unknown := sorted(set(sources) - set(known)):
        raise TrainingError(
            f"{table} has no source {', '.join(unknown)}; it has {', '.join(sorted(known))}"
        )
    entities = read_table(table, (Granularity.PHRASE,), languages, set(known) - set(sources))
    found = Dictionary.of(
        [Word(row.language, row.text) for row in entity.rows if is_word(row.text)]
        for entity in entities
    )
    if not len(found):
        raise TrainingError(
            f"the sources {', '.join(sorted(sources))} of {table} hold no word in two languages"
        )
    return found


def word_pairs(file: Path) -> Iterator[tuple[Word, Word]]:
    """The pairs of a TSV file, plain or xz-compressed, with the columns lang_a, lang_b, word_a and
    word_b, in that order and with that header; each is a meaning of its own for `Dictionary`.

    Raises TrainingError, with the line number, where the file breaks this or a word is none.
    """
    with open_text(file) as lines:
        for number, row in enumerate(table_rows(file, lines, WORD_PAIRS_COLUMNS), start=2):
            lang_a, lang_b, word_a, word_b = (unicodedata.normalize("NFC", each) for each in row)
            for word in (word_a, word_b):
                if not is_word(word):
                    raise TrainingError(
                        f"{file}, line {number}: {word[:40]!r} is no single word; "
                        "use words of letters without a space in them"
                    )
            yield Word(lang_a, word_a), Word(lang_b, word_b)


def merged(one: Dictionary, pairs: Iterable[Iterable[Word]]) -> Dictionary:
    """`one` with further meanings after its own."""
    return Dictionary.of(chain(one.meanings(), pairs))


def is_word(text: str) -> bool:
    """Whether `text` is one word, with letters in it, and without spaces or marks around it."""
    if " " in text or not any(map(str.isalpha, text)):
        return False
    parts = pieces(text)
    longest = _LONGEST_UNSPACED if is_unspaced(text) else _LONGEST_WORD
    return len(parts) == 3 and parts[1] == text and len(clusters(text)) <= longest


def _fold(word: str) -> str:
    return unicodedata.normalize("NFC", word.casefold())


def _encode(column: pa.ChunkedArray) -> tuple[list[str], Integers]:
    """The different values of a column, and each row's place among them."""
    encoded = column.combine_chunks().dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)
