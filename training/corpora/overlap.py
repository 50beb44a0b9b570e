"""Keep evaluation text out of training: a fingerprint per text, and a filter over pairs."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from training.corpora.tsv import Pair, open_text
from training.errors import TrainingError

# Columns of the evaluation files that hold no text.
_NOT_TEXT = frozenset(
    {
        *("id", "id1", "id2", "uri1", "uri2", "paragraph_id", "answer_start"),
        *("lang", "lang_a", "lang_b", "source", "granularity", "score", "split", "relation"),
    }
)
_ENTITY_MARK = re.compile(r"</?e[12]>")


def fingerprint(text: str) -> bytes | None:
    """16 bytes that are equal for texts with the same letters and digits; None where it has none.

    Texts are compared after NFKC and casefold, so case, spaces and punctuation do not count.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    letters = "".join(character for character in folded if character.isalnum())
    return hashlib.blake2b(letters.encode(), digest_size=16).digest() if letters else None


def fingerprints(texts: Iterable[str]) -> frozenset[bytes]:
    """The fingerprints of all texts that have one."""
    return frozenset(mark for text in texts if (mark := fingerprint(text)) is not None)


def evaluation_texts(folder: Path) -> Iterator[str]:
    """Every text of the test sets below `folder`: all text columns of its TSV files, the tokens of
    its gold word alignments, joined, and the lines of its documents.

    Files are plain or xz-compressed. Raises TrainingError where the folder holds no test set, or
    a damaged one.
    """
    kinds = (".tsv", ".txt", ".jsonl")
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if _plain_name(path).endswith(kinds) and path.is_file()
    ]
    if not files:
        raise TrainingError(f"no evaluation sets ({', '.join(kinds)}, plain or .xz) in {folder}")
    for file in files:
        with open_text(file) as lines:
            if _plain_name(file).endswith(".tsv"):
                header = next(lines, "").rstrip("\n").split("\t")
                columns = [i for i, name in enumerate(header) if name not in _NOT_TEXT]
                for line in lines:
                    cells = line.rstrip("\n").split("\t")
                    yield from (_ENTITY_MARK.sub("", cells[i]) for i in columns)
            elif _plain_name(file).endswith(".txt"):
                yield from lines
            elif file.parent.name == "word_alignment":
                for line in lines:
                    row = json.loads(line)
                    yield " ".join(row["tokens_a"])
                    yield " ".join(row["tokens_b"])


def _plain_name(file: Path) -> str:
    return file.name.removesuffix(".xz")


def without_overlap(pairs: Iterable[Pair], banned: frozenset[bytes]) -> Iterator[Pair]:
    """The pairs of which neither side has a banned fingerprint or none at all."""
    for pair in pairs:
        english, other = fingerprint(pair.english), fingerprint(pair.other)
        if english is None or other is None or english in banned or other in banned:
            continue
        yield pair
