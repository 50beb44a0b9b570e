"""Turn corpora as they are published into rows: one function for each format."""

from __future__ import annotations

import bz2
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from training.corpora.tsv import ANCHOR
from training.errors import TrainingError

_XML_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"


class Item(NamedTuple):
    """A text; items of one id say the same thing."""

    id: str
    granularity: str
    language: str
    text: str


class Files(NamedTuple):
    """What was downloaded of one source: files of the whole, and of each language."""

    source: str
    once: Sequence[Path]
    # By our code of the language: (their code, files).
    each: Mapping[str, tuple[str, Sequence[Path]]]


Convert = Callable[[Files], Iterator[Item]]


def tatoeba(files: Files) -> Iterator[Item]:
    """Tatoeba's weekly exports: sentences of English (once) and of each language, with the links
    between them. All translations of an English sentence share its id."""
    links = {
        language: _number_pairs(paths[1]) for language, (_, paths) in files.each.items()
    }  # language → [(its sentence, the English one)]
    linked = {english for pairs in links.values() for _, english in pairs}
    english = {number: text for number, text in _sentences(files.once[0]) if number in linked}
    for number, text in english.items():
        yield Item(f"tatoeba:{number}", "sentence", ANCHOR, text)
    for language, pairs in links.items():
        texts = dict(_sentences(files.each[language][1][0]))
        for number, anchor in pairs:
            # Links outlive the sentences that were deleted.
            if anchor in english and number in texts:
                yield Item(f"tatoeba:{anchor}", "sentence", language, texts[number])


def moses(files: Files) -> Iterator[Item]:
    """OPUS's Moses archives: two texts a zip, line by line translations of each other."""
    for language, (code, (archive,)) in files.each.items():
        with zipfile.ZipFile(archive) as contents:
            names = {
                suffix: [name for name in contents.namelist() if name.endswith(f".{suffix}")]
                for suffix in (ANCHOR, code)
            }
            if any(len(found) != 1 for found in names.values()):
                raise TrainingError(
                    f"{archive}: expected one text in {ANCHOR} and one in {code}, found "
                    f"{', '.join(contents.namelist())}"
                )
            with contents.open(names[ANCHOR][0]) as a, contents.open(names[code][0]) as b:
                yield from _line_by_line(
                    f"{files.source}:{code}", language, _lines(a.read()), _lines(b.read())
                )


def parallel_lines(files: Files) -> Iterator[Item]:
    """Two plain text files for each language: the language's, then the English."""
    for language, (code, (own, english)) in files.each.items():
        yield from _line_by_line(
            f"{files.source}:{code}",
            language,
            _lines(english.read_bytes()),
            _lines(own.read_bytes()),
        )


def udhr(files: Files) -> Iterator[Item]:
    """The Universal Declaration of Human Rights in Unicode: a zip of one XML file a translation.
    The id is the article and the paragraph in it, or `all` for an article of several."""
    wanted = {their: own for own, (their, _) in files.each.items()}
    with zipfile.ZipFile(files.once[0]) as contents:
        for name in sorted(contents.namelist()):
            if not name.endswith(".xml") or name.endswith("index.xml"):
                continue
            root = ElementTree.fromstring(contents.read(name))
            language = wanted.get(_without_region(root.get(_XML_LANGUAGE, "")))
            if language is None:
                continue
            for article in root.iterfind("{*}article"):
                number = article.get("number")
                texts = [text for para in article.iter() if (text := _paragraph(para)) is not None]
                for place, text in enumerate(texts, start=1):
                    yield Item(f"udhr:{number}:{place}", "paragraph", language, text)
                if len(texts) > 1:
                    yield Item(f"udhr:{number}:all", "paragraph", language, " ".join(texts))


def mgsm(files: Files) -> Iterator[Item]:
    """MGSM: a problem and its answer a line, separated by a tab."""
    for language, (_, (file,)) in files.each.items():
        for number, line in enumerate(_lines(file.read_bytes())):
            problem, _ = line.split("\t")
            yield Item(f"mgsm:{number}", "paragraph", language, problem)


def xcopa(files: Files) -> Iterator[Item]:
    """XCOPA: JSON lines with a premise and two choices, for validation and test."""
    for language, (_, paths) in files.each.items():
        for split, file in zip(("val", "test"), paths, strict=True):
            for row in map(json.loads, filter(None, _lines(file.read_bytes()))):
                for part in ("premise", "choice1", "choice2"):
                    yield Item(
                        f"xcopa:{split}:{row['idx']}:{part}", "sentence", language, row[part]
                    )


def quran(files: Files) -> Iterator[Item]:
    """quran-json: chapters of verses, each with the Arabic text and a translation."""
    for chapter in _json(files.once[0]):
        for verse in chapter["verses"]:
            yield Item(f"quran:{chapter['id']}:{verse['id']}", "sentence", "ar", verse["text"])
    for language, (_, (file,)) in files.each.items():
        for chapter in _json(file):
            for verse in chapter["verses"]:
                id_ = f"quran:{chapter['id']}:{verse['id']}"
                yield Item(id_, "sentence", language, verse["translation"])


def cldr_names(files: Files) -> Iterator[Item]:
    """CLDR's names of languages, territories and scripts; variants of a name are left out."""
    for language, (code, paths) in files.each.items():
        for file in paths:
            for kind, names in _json(file)["main"][code]["localeDisplayNames"].items():
                for key, name in names.items():
                    # A name that CLDR does not have stands as its own key.
                    if "-alt-" not in key and name != key:
                        yield Item(f"cldr:{kind}:{key}", "phrase", language, name)


def cldr_emoji(files: Files) -> Iterator[Item]:
    """CLDR's spoken names of emoji."""
    for language, (_, (file,)) in files.each.items():
        for emoji, entry in _json(file)["annotations"]["annotations"].items():
            points = "-".join(f"{ord(character):x}" for character in emoji)
            for name in entry.get("tts", ()):
                yield Item(f"cldr:emoji:{points}", "phrase", language, name)


CONVERTERS: Mapping[str, Convert] = {
    "tatoeba": tatoeba,
    "moses": moses,
    "parallel_lines": parallel_lines,
    "udhr": udhr,
    "mgsm": mgsm,
    "xcopa": xcopa,
    "quran": quran,
    "cldr_names": cldr_names,
    "cldr_emoji": cldr_emoji,
}


def _line_by_line(
    prefix: str, language: str, english: Sequence[str], own: Sequence[str]
) -> Iterator[Item]:
    if len(english) != len(own):
        raise TrainingError(
            f"{prefix}: {len(english)} English lines and {len(own)} in {language}; the file is "
            "damaged or its layout has changed"
        )
    for number, (anchor, text) in enumerate(zip(english, own, strict=True)):
        yield Item(f"{prefix}:{number}", "sentence", ANCHOR, anchor)
        yield Item(f"{prefix}:{number}", "sentence", language, text)


def _sentences(file: Path) -> Iterator[tuple[int, str]]:
    with bz2.open(file, "rt", encoding="utf-8", newline="\n") as lines:
        for line in lines:
            number, _, text = line.rstrip("\n").split("\t", 2)
            yield int(number), text


def _number_pairs(file: Path) -> list[tuple[int, int]]:
    with bz2.open(file, "rt", encoding="utf-8", newline="\n") as lines:
        return [(int(a), int(b)) for a, b in (line.split("\t") for line in lines)]


def _lines(content: bytes) -> list[str]:
    # Not splitlines: other separators, such as U+2028, stand inside texts.
    lines = content.decode("utf-8").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _json(file: Path) -> Any:  # noqa: ANN401 - the converters know its shape
    return json.loads(file.read_text(encoding="utf-8"))


def _without_region(tag: str) -> str:
    """The language and, where it is named, the script of a tag such as `de-1996` or `sr-Cyrl`."""
    base, *rest = tag.split("-")
    return "-".join([base, *(part for part in rest if len(part) == 4 and part.isalpha())])


def _paragraph(element: ElementTree.Element) -> str | None:
    if element.tag.rsplit("}", 1)[-1] != "para":
        return None
    return " ".join("".join(element.itertext()).split()) or None
