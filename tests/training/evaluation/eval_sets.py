"""Tiny test sets in the formats of the real ones, and encoders that know their answers."""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from models.bundle import Granularity
from tests.tiny_training import PAIRS_HEADER, write_xz
from training.evaluation.encoder import Model
from training.evaluation.similarity import Vectors
from training.evaluation.tasks import dbp15k, sts, xquad

DIMENSION = 64
XQUAD_LANGUAGES = ("de", "en", "ru")
TATOEBA_LANGUAGES = {"de": "deu", "fr": "fra", "af": "afr"}
# In the gold alignments: word i of a side means number i.
SENTENCES = 4


def number_of(text: str) -> int:
    """What a made-up text means: the number that it ends with, or the letter of `NameX`."""
    last = text.split()[-1].strip("?.")
    return ord(last[-1]) - ord("A") if last.startswith("Name") else int(last)


def meaning(text: str) -> Vectors:
    """A fixed random unit vector for what a text means, the same in every language."""
    seed = int.from_bytes(hashlib.sha256(str(number_of(text)).encode()).digest()[:4], "big")
    vector = np.random.default_rng(seed).normal(size=DIMENSION)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def surface(text: str) -> Vectors:
    """A fixed random unit vector for a text as it is written."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
    vector = np.random.default_rng(seed).normal(size=DIMENSION)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


@dataclass
class FakeEncoder:
    """Understands texts through each adapter of `able`; through the others it sees only letters."""

    able: frozenset[str | None]
    has_plain: bool = True
    has_tokens: bool = True
    # Every text that was encoded, with its adapter, in order.
    encoded: list[tuple[str | None, str]] = field(default_factory=list)
    # The adapter of every call for words.
    read_words: list[str | None] = field(default_factory=list)

    @property
    def model(self) -> Model:
        names = ("phrase", "sentence", "paragraph")
        return Model(
            name="fake",
            version="1.2.3",
            dimension=DIMENSION,
            adapters={name: Granularity(name) for name in names},
            routing={Granularity(name): name for name in names},
            has_plain=self.has_plain,
            has_tokens=self.has_tokens,
        )

    def embed(self, texts: Sequence[str], adapter: str | None) -> Vectors:
        self.encoded += [(adapter, text) for text in texts]
        vector = meaning if adapter in self.able else surface
        return np.stack([vector(text) for text in texts])

    def embed_words(self, sentences: Sequence[Sequence[str]], adapter: str | None) -> list[Vectors]:
        self.read_words.append(adapter)
        # A word means its letters after the language's mark: `de:w3` is 3.
        return [
            np.stack([meaning(f"w {word.split('w')[1]}") for word in words]) for words in sentences
        ]


class Vectorizer:
    """A reader that answers by a function of the text, and notes what it was asked."""

    def __init__(self, vector: Callable[[str], Sequence[float] | Vectors]) -> None:
        self._vector = vector
        self.asked: set[tuple[Granularity, str]] = set()

    def vectors(self, granularity: Granularity, texts: Sequence[str]) -> Vectors:
        self.asked |= {(granularity, text) for text in texts}
        return np.array([self._vector(text) for text in texts], dtype=np.float32)

    def words(self, sentences: Sequence[Sequence[str]]) -> list[Vectors]:
        return [self.vectors(Granularity.WORD, words) for words in sentences]


def one_hot(text: str) -> list[float]:
    """A vector of which one place says what a text means."""
    return [float(place == number_of(text)) for place in range(64)]


def write_tatoeba(folder: Path, rows: Sequence[tuple[str, str, str]]) -> None:
    """(ISO 639-3 code, English, other) rows."""
    lines = [
        ("t", "sentence", f"{code}.{number}", "en", code, english, other)
        for number, (code, english, other) in enumerate(rows)
    ]
    write_xz(folder / "tatoeba.pairs.tsv.xz", [PAIRS_HEADER, *lines])


def write_all(folder: Path) -> Path:
    """Every test set; a text's number is its meaning, so that `meaning` answers all of them."""
    write_tatoeba(
        folder,
        [
            (code, f"{code} english {100 * place + number}", f"{code} text {100 * place + number}")
            for place, code in enumerate(TATOEBA_LANGUAGES.values())
            for number in range(40)
        ],
    )
    for place, language in enumerate(dbp15k.LANGUAGES):
        rows = [dbp15k.COLUMNS]
        for number in range(12):
            split = "train" if number < 2 else "test"
            own = 12 * place + number
            rows.append((split, "1", "2", "u", "u", f"{language} name {own}", f"name {own}"))
        write_xz(folder / f"dbp15k_{language}_en.links.tsv.xz", rows)
    ratings = [sts.COLUMNS]
    for language in ("en", *sts.NINE, "ko"):
        for number, other, score in ((0, 0, "5.0"), (1, 8, "0")):
            pair = (f"{language} one {number}", f"{language} two {other}")
            ratings.append(("dev", language, f"d.{number}", *pair, score))
    write_xz(folder / sts.FILE, ratings)
    write_xquad(folder)
    write_alignments(folder)
    return folder


def write_xquad(folder: Path) -> None:
    """Twelve paragraphs, each with a question and a capitalised name of its own."""
    paragraphs, answers = [("id", "lang", "text")], [xquad.ANSWERS_COLUMNS]
    for language in XQUAD_LANGUAGES:
        for number in range(12):
            name = f"Name{chr(65 + number)}"
            text = f"About {name} in {language} and more {number}"
            paragraphs.append((f"p{number}", language, text))
            question = f"{language} what {number}?"
            answers.append((f"q{number}", language, f"p{number}", question, name, "6"))
    write_xz(folder / xquad.PARAGRAPHS_FILE, paragraphs)
    write_xz(folder / xquad.ANSWERS_FILE, answers)


def write_alignments(folder: Path) -> None:
    """Sentences of four words, the other side's in reverse order."""
    target = folder / "word_alignment" / "made_en-de.jsonl.xz"
    target.parent.mkdir()
    with lzma.open(target, "wt", encoding="utf-8") as out:
        for number in range(SENTENCES):
            row = {
                "id": f"m:{number}",
                "lang_a": "en",
                "lang_b": "de",
                "tokens_a": [f"en:w{place}" for place in range(4)],
                "tokens_b": [f"de:w{place}" for place in range(3, -1, -1)],
                "sure": [[place, 3 - place] for place in range(4)],
                "possible": [],
            }
            out.write(json.dumps(row) + "\n")
