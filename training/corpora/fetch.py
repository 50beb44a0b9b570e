"""Fetch known sources from their public addresses, and write them in the layout that `build` reads.

Below the folder stand `SOURCE.GRANULARITY.wide.tsv.xz`, what was downloaded in `.downloads/SOURCE/`
and, in `fetched.json`, where each file came from, its sha256, licence and attribution.
"""

from __future__ import annotations

import json
import lzma
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TextIO
from urllib.parse import urlsplit
from xml.etree.ElementTree import ParseError
from zipfile import BadZipFile

from models.bundle import sha256_of
from training.corpora.converters import CONVERTERS, Files, Item
from training.corpora.download import Fetched, NotThere, download
from training.corpora.sources import Download, Source
from training.corpora.tsv import ANCHOR, WIDE_COLUMNS
from training.errors import TrainingError
from training.files import replace

RECORD = "fetched.json"
_DOWNLOADS = ".downloads"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one source."""

    source: str
    files: Sequence[Path]
    rows: Mapping[str, int]  # by language
    missing: Sequence[str]  # languages that the source turned out not to have


def fetch(
    folder: Path, sources: Mapping[str, Source], languages: Sequence[str] | None
) -> Iterator[Result]:
    """Download and convert each of `sources`, in `languages` or all that the source has.

    What an earlier call fetched, and is still what was recorded, is not fetched again. Raises
    TrainingError where a source cannot be downloaded by its table, has none of the languages, or
    cannot be reached.
    """
    plans = []
    for name, source in sources.items():
        if source.download is None:
            raise TrainingError(
                f"{name} has no converter; get it from {', '.join(source.addresses)} and bring it "
                "into a layout of docs/corpora.md"
            )
        plans.append((name, source, source.download))
    folder.mkdir(parents=True, exist_ok=True)
    for name, source, plan in plans:
        yield _fetch_source(folder, name, source, plan, languages)


def _fetch_source(
    folder: Path, name: str, source: Source, plan: Download, languages: Sequence[str] | None
) -> Result:
    has = {*plan.codes, *plan.once_languages} - {ANCHOR}
    wanted = has if languages is None else has.intersection(languages)
    if not wanted:
        raise TrainingError(
            f"{name} has none of the languages {', '.join(languages or ())}; it has "
            f"{', '.join(sorted(has))}"
        )
    wanted = wanted | {ANCHOR}
    chosen = {own: their for own, their in plan.codes.items() if own in wanted}
    record = _Record(folder / RECORD)
    place = folder / _DOWNLOADS / name

    def get(url: str) -> Path:
        return _get(url, place, record, name, source)

    once = [get(url) for url in plan.once]
    each: dict[str, tuple[str, Sequence[Path]]] = {}
    missing = []
    for own, their in chosen.items():
        try:
            each[own] = their, [get(_fill(url, their)) for url in plan.each]
        except NotThere:
            missing.append(own)
    items = _converted(plan.converter, Files(name, once, each), place)
    files, rows = _write(folder, name, (item for item in items if item.language in wanted))
    return Result(name, files, rows, missing)


def _converted(converter: str, files: Files, place: Path) -> Iterator[Item]:
    try:
        yield from CONVERTERS[converter](files)
    # What bz2, zip, JSON, XML and UTF-8 say of something else, and of another layout.
    except (OSError, EOFError, BadZipFile, ParseError, ValueError, LookupError, TypeError) as error:
        raise TrainingError(
            f"{files.source}: what came is not in its format ({type(error).__name__}: {error}); "
            f"delete {place} and try again, or its layout has changed"
        ) from None


def _fill(url: str, code: str) -> str:
    return url.format(code=code, pair="-".join(sorted((ANCHOR, code))))


def _get(url: str, place: Path, record: _Record, name: str, source: Source) -> Path:
    """The file at `url`, downloaded unless what was recorded of it is still here."""
    # Two files of one name may come from two folders.
    path = PurePosixPath(urlsplit(url).path.lstrip("/"))
    target = place / urlsplit(url).netloc.replace(":", "_") / path
    known = record.files.get(url)
    if known is None or not target.exists() or sha256_of(target) != known["sha256"]:
        record.add(download(url, target), name, source)
    return target


class _Record:
    """`fetched.json`: every file by its address."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.files: dict[str, dict[str, Any]] = (
            json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        )

    def add(self, fetched: Fetched, name: str, source: Source) -> None:
        self.files[fetched.url] = {
            **asdict(fetched),
            "source": name,
            "licence": source.licence,
            "attribution": source.attribution,
        }
        text = json.dumps(dict(sorted(self.files.items())), indent=2, ensure_ascii=False) + "\n"
        replace(self._file, lambda path: path.write_text(text, encoding="utf-8"))


def _write(
    folder: Path, name: str, items: Iterable[Item]
) -> tuple[Sequence[Path], Mapping[str, int]]:
    """Write items as wide files, one a granularity, once all of them are there."""
    rows: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=folder) as staging:
        with ExitStack() as open_files:
            writers: dict[str, TextIO] = {}
            for item in items:
                text = " ".join(item.text.split())
                if not text:
                    continue
                if (writer := writers.get(item.granularity)) is None:
                    file = Path(staging) / f"{name}.{item.granularity}.wide.tsv.xz"
                    writer = open_files.enter_context(
                        lzma.open(file, "wt", preset=1, encoding="utf-8", newline="\n")
                    )
                    writer.write("\t".join(WIDE_COLUMNS) + "\n")
                    writers[item.granularity] = writer
                writer.write(f"{item.id}\t{item.language}\t{text}\n")
                rows[item.language] += 1
        if len(rows) < 2:
            raise TrainingError(
                f"{name}: no two languages came; its address or its layout has changed"
            )
        files = [file.replace(folder / file.name) for file in sorted(Path(staging).iterdir())]
    return files, rows
