"""Sources are fetched from a server on this machine, in the formats in which they are published."""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.training.corpora.published import PUBLISHED, Rows, zipped
from tests.training.corpora.web import Web, serve
from training import cli as program
from training.corpora import sources as sources_module
from training.corpora.converters import CONVERTERS
from training.corpora.fetch import fetch
from training.corpora.rows import input_files, read_rows
from training.corpora.sources import Download, Source, known_sources
from training.errors import TrainingError


@pytest.fixture
def web() -> Iterator[Web]:
    with serve() as web:
        yield web


def _source(plan: Download) -> Source:
    return Source(
        kind="wide",
        licence="CC0 1.0",
        licence_class="permissive",
        attribution="Nobody",
        origin=("https://example.org",),
        download=plan,
    )


def _read(file: Path) -> Rows:
    lines = lzma.decompress(file.read_bytes()).decode().split("\n")
    assert lines[0] == "id\tlang\ttext"
    assert lines[-1] == ""
    return [(a, b, c) for a, b, c in (line.split("\t") for line in lines[1:-1])]


def test_every_converter_is_tested_and_every_source_has_a_known_one() -> None:
    assert set(PUBLISHED) == set(CONVERTERS)
    plans = [each.download for each in known_sources().values() if each.download is not None]
    assert {plan.converter for plan in plans} == set(CONVERTERS)


@pytest.mark.parametrize("converter", PUBLISHED)
def test_what_is_published_becomes_a_file_that_build_reads(
    converter: str, web: Web, tmp_path: Path
) -> None:
    plan, wanted = PUBLISHED[converter](web)
    (result,) = fetch(tmp_path, {"made": _source(plan)}, None)
    (file,) = result.files
    assert _read(file) == wanted
    assert result.missing == []
    assert sum(result.rows.values()) == len(wanted)
    # Nothing else in the folder is taken for a corpus.
    found, skipped = input_files([tmp_path])
    assert found == [file]
    assert skipped == [tmp_path / "fetched.json"]
    granularity = file.name.split(".")[1]
    assert granularity == {"mgsm": "paragraph", "udhr": "paragraph"}.get(
        converter, "phrase" if converter.startswith("cldr") else "sentence"
    )


def test_the_record_says_what_came_and_what_is_here_is_not_fetched_again(
    web: Web, tmp_path: Path
) -> None:
    plan, wanted = PUBLISHED["tatoeba"](web)
    (first,) = fetch(tmp_path, {"made": _source(plan)}, ["de"])
    assert first.rows == {"en": 2, "de": 2}
    record = json.loads((tmp_path / "fetched.json").read_text())
    assert list(record) == [f"{web.address}/{name}.bz2" for name in ("deu-eng", "deu", "eng")]
    url = f"{web.address}/deu.bz2"
    assert record[url] == {
        "url": url,
        "bytes": len(web.files["/deu.bz2"]),
        "sha256": hashlib.sha256(web.files["/deu.bz2"]).hexdigest(),
        "source": "made",
        "licence": "CC0 1.0",
        "attribution": "Nobody",
    }
    asked = len(web.asked)
    (second,) = fetch(tmp_path, {"made": _source(plan)}, None)
    assert _read(second.files[0]) == wanted
    assert [path for path, _ in web.asked[asked:]] == ["/cmn.bz2", "/cmn-eng.bz2"]
    # What is no longer what came is fetched anew.
    asked = len(web.asked)
    (damaged,) = tmp_path.glob(".downloads/made/*/deu.bz2")
    damaged.write_bytes(b"damaged")
    list(fetch(tmp_path, {"made": _source(plan)}, None))
    assert [path for path, _ in web.asked[asked:]] == ["/deu.bz2"]


def test_a_language_that_is_no_longer_there_is_named_and_the_others_come(
    web: Web, tmp_path: Path
) -> None:
    plan, _ = PUBLISHED["moses"](web)
    del web.files["/en-jp.zip"]
    (result,) = fetch(tmp_path, {"made": _source(plan)}, None)
    assert result.missing == ["ja"]
    assert set(result.rows) == {"en", "de"}
    web.files.clear()
    with pytest.raises(TrainingError, match="made: no two languages came; its address"):
        list(fetch(tmp_path / "new", {"made": _source(plan)}, None))


def test_arabic_alone_comes_from_the_file_of_the_whole(web: Web, tmp_path: Path) -> None:
    plan, _ = PUBLISHED["quran"](web)
    (result,) = fetch(tmp_path, {"made": _source(plan)}, ["ar"])
    assert result.rows == {"ar": 1, "en": 1}
    (result,) = fetch(tmp_path, {"made": _source(plan)}, ["fr"])
    assert result.rows == {"en": 1, "fr": 1}


def test_what_cannot_be_fetched_says_so(web: Web, tmp_path: Path) -> None:
    plan, _ = PUBLISHED["moses"](web)
    with pytest.raises(TrainingError, match="none of the languages fi, sw; it has de, ja"):
        list(fetch(tmp_path, {"made": _source(plan)}, ["fi", "sw"]))
    with pytest.raises(TrainingError, match=r"bible has no converter; get it from https://github"):
        list(fetch(tmp_path, {"bible": known_sources()["bible"]}, None))
    web.files["/de-en.zip"] = zipped({"X.de-en.de": "a\nb\n", "X.de-en.en": "a\n"})
    with pytest.raises(TrainingError, match="1 English lines and 2 in de; the file is damaged"):
        list(fetch(tmp_path, {"made": _source(plan)}, ["de"]))
    web.files["/de-en.zip"] = zipped({"X.de-en.fr": "a\n", "X.de-en.en": "a\n"})
    with pytest.raises(TrainingError, match=r"one text in en and one in de, found X\.de"):
        list(fetch(tmp_path / "other", {"made": _source(plan)}, ["de"]))
    assert not list(tmp_path.glob("made.*"))


@pytest.mark.parametrize("converter", PUBLISHED)
def test_a_page_in_place_of_the_file_is_told_from_it(
    converter: str, web: Web, tmp_path: Path
) -> None:
    """What a captive portal or a changed address answers, with status 200."""
    plan, _ = PUBLISHED[converter](web)
    for path in web.files:
        web.files[path] = b"<html>log\xffin</html>\n"
    with pytest.raises(TrainingError, match=r"made: what came is not in its format .*; delete "):
        list(fetch(tmp_path, {"made": _source(plan)}, None))


def test_a_source_is_fetched_and_built_from_the_command_line(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, wanted = PUBLISHED["mgsm"](web)
    known = {"mgsm": _source(plan), "other": known_sources()["bible"]}
    monkeypatch.setattr(sources_module, "known_sources", lambda: known)
    command = ["corpus", "fetch", str(tmp_path), "--source", "mgsm", "--languages", "de, fr"]
    result = CliRunner().invoke(program.cli, command, catch_exceptions=False)
    assert result.exit_code == 0
    assert "mgsm: en 1, de 1" in result.stderr
    (file,) = tmp_path.glob("mgsm.*")
    assert sorted((row.language, row.text) for row in read_rows(file)) == sorted(
        (language, text) for _, language, text in wanted
    )
    refused = CliRunner().invoke(program.cli, ["corpus", "fetch", "x", "--source", "nothing"])
    assert "no source is called nothing; these can be fetched: mgsm" in str(refused.exception)
