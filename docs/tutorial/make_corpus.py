"""Writes the tutorial's corpus and test set from texts that stand in the repository:

python docs/tutorial/make_corpus.py FOLDER

makes FOLDER/train, three files of translations, and FOLDER/eval, a test set of the last subjects,
which the training files do not have.
"""

from __future__ import annotations

import csv
import lzma
import sys
from collections.abc import Iterable
from pathlib import Path

from service.alignment.segmentation import sentence_spans
from service.demo import passages

# Twelve subjects in twelve languages; the last three are for the test.
HELD_OUT = 3
NAMES = Path(__file__).with_name("names.tsv")
# The test set names its languages as Tatoeba does.
ISO_639_3 = {
    "ar": "ara",
    "de": "deu",
    "es": "spa",
    "fr": "fra",
    "hi": "hin",
    "ja": "jpn",
    "ko": "kor",
    "ru": "rus",
    "sw": "swh",
    "tr": "tur",
    "zh": "cmn",
}

Row = tuple[str, ...]


def main(folder: Path) -> None:
    """Write both folders below `folder`."""
    paragraphs = [(p["metadata"]["topic"], p["language"], p["text"]) for p in passages()]
    cut = {(topic, language): _sentences(text, language) for topic, language, text in paragraphs}
    sentences = [
        (f"{topic}-{number}", language, text)
        for (topic, language), found in cut.items()
        # One cut otherwise than its English would be paired with the wrong sentences.
        if len(found) == len(cut[topic, "en"])
        for number, text in enumerate(found)
    ]
    with NAMES.open(encoding="utf-8") as lines:
        names = [tuple(row) for row in csv.reader(lines, delimiter="\t")][1:]
    topics = list(dict.fromkeys(topic for topic, _, _ in paragraphs))
    tested = set(topics[-HELD_OUT:])
    train, test = folder / "train", folder / "eval"
    train.mkdir(parents=True)
    test.mkdir()
    for granularity, rows in (
        ("phrase", names),
        ("sentence", sentences),
        ("paragraph", paragraphs),
    ):
        kept = [row for row in rows if row[0].split("-")[0] not in tested]
        write(train / f"tutorial.{granularity}.wide.tsv", [("id", "lang", "text"), *kept])
    held_out = [row for row in sentences if row[0].split("-")[0] in tested]
    english = {key: text for key, language, text in held_out if language == "en"}
    pairs = [
        ("tutorial", "sentence", key, "en", ISO_639_3[language], english[key], text)
        for key, language, text in held_out
        if language != "en"
    ]
    header = ("source", "granularity", "id", "lang_a", "lang_b", "text_a", "text_b")
    write(test / "tatoeba.pairs.tsv.xz", [header, *pairs])


def _sentences(text: str, language: str) -> list[str]:
    return [text[span.start : span.end] for span in sentence_spans(text, language)]


def write(file: Path, rows: Iterable[Row]) -> None:
    """Write rows as TSV, compressed where the name says so."""
    text = "".join("\t".join(row) + "\n" for row in rows).encode()
    file.write_bytes(lzma.compress(text) if file.suffix == ".xz" else text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
