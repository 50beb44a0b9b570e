"""Sources are fetched from a server on this machine, in the formats in which they are published."""

from __future__ import annotations

import bz2
import hashlib
import io
import json
import lzma
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.training.corpora.web import Web, serve
from training import cli as program
from training.corpora import sources as sources_module
from training.corpora.converters import CONVERTERS
from training.corpora.fetch import fetch
from training.corpora.rows import input_files, read_rows
from training.corpora.sources import Download, Source, known_sources
from training.errors import TrainingError

Rows = list[tuple[str, str, str]]


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


def _zip(files: dict[str, str]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


def _read(file: Path) -> Rows:
    lines = lzma.decompress(file.read_bytes()).decode().split("\n")
    assert lines[0] == "id\tlang\ttext"
    assert lines[-1] == ""
    return [(a, b, c) for a, b, c in (line.split("\t") for line in lines[1:-1])]


def _tatoeba(web: Web) -> tuple[Download, Rows]:
    web.files |= {
        "/eng.bz2": bz2.compress(b"1\teng\tHello.\n2\teng\tGood  bye.\n3\teng\tNobody links me.\n"),
        "/deu.bz2": bz2.compress("10\tdeu\tHallo.\n11\tdeu\tTschüss.\n".encode()),
        "/deu-eng.bz2": bz2.compress(b"10\t1\n11\t2\n12\t2\n11\t99\n"),
        "/cmn.bz2": bz2.compress("20\tcmn\t你好。\n".encode()),
        "/cmn-eng.bz2": bz2.compress(b"20\t1\n"),
    }
    plan = Download(
        converter="tatoeba",
        once=(f"{web.address}/eng.bz2",),
        each=(f"{web.address}/{{code}}.bz2", f"{web.address}/{{code}}-eng.bz2"),
        once_languages=("en",),
        languages=("de=deu", "zh=cmn"),
    )
    # A link to a deleted sentence leads nowhere.
    return plan, [
        ("tatoeba:1", "en", "Hello."),
        ("tatoeba:2", "en", "Good bye."),
        ("tatoeba:1", "de", "Hallo."),
        ("tatoeba:2", "de", "Tschüss."),
        ("tatoeba:1", "zh", "你好。"),
    ]


def _moses(web: Web) -> tuple[Download, Rows]:
    # U+2028 and U+0085 part lines for Python, and are text here.
    web.files["/de-en.zip"] = _zip(
        {
            "README": "about",
            "X.de-en.de": "Eins\u2028und zwei\nDrei\n\n",
            "X.de-en.en": "One\u0085and two\nThree\nalone\n",
            "X.de-en.xml": "<x/>",
        }
    )
    web.files["/en-jp.zip"] = _zip({"X.en-jp.en": "Four", "X.en-jp.jp": "四"})
    plan = Download(
        converter="moses", each=(f"{web.address}/{{pair}}.zip",), languages=("de", "ja=jp")
    )
    return plan, [
        ("made:de:0", "en", "One and two"),
        ("made:de:0", "de", "Eins und zwei"),
        ("made:de:1", "en", "Three"),
        ("made:de:1", "de", "Drei"),
        ("made:de:2", "en", "alone"),
        ("made:jp:0", "en", "Four"),
        ("made:jp:0", "ja", "四"),
    ]


def _parallel_lines(web: Web) -> tuple[Download, Rows]:
    web.files |= {"/bn.bn": "এক\nদুই\n".encode(), "/bn.en": b"one\ntwo\n"}
    plan = Download(
        converter="parallel_lines",
        each=(f"{web.address}/{{code}}.{{code}}", f"{web.address}/{{code}}.en"),
        languages=("bn",),
    )
    return plan, [
        ("made:bn:0", "en", "one"),
        ("made:bn:0", "bn", "এক"),
        ("made:bn:1", "en", "two"),
        ("made:bn:1", "bn", "দুই"),
    ]


def _udhr(web: Web) -> tuple[Download, Rows]:
    head = '<udhr xmlns="http://www.unhchr.ch/udhr" xml:lang="{}"><title>t</title>'
    first = '<preamble><para>p</para></preamble><article number="1"><title>A</title><para>{}</para>'
    second = '</article><article number="2"><para>{}</para><orderedlist><listitem>'
    rest = "<title>(a)</title><para>{}</para></listitem></orderedlist></article></udhr>"
    layout = head + first + second + rest
    web.files["/udhr.zip"] = _zip(
        {
            "index.xml": "<udhrs/>",
            "udhr_deu_1996.xml": layout.format("de-1996", "Alle\n frei", "Eins", "Zwei"),
            "udhr_eng.xml": layout.format("en", "All free", "One", "Two"),
            "udhr_srp_latn.xml": layout.format("sr-Latn", "Svi", "Jedan", "Dva"),
            "udhr_xyz.xml": layout.format("xyz", "?", "?", "?"),
        }
    )
    plan = Download(
        converter="udhr", once=(f"{web.address}/udhr.zip",), languages=("en", "de", "sr-Latn")
    )
    return plan, [
        (f"udhr:{place}", language, text)
        for language, one, two, three in (
            ("de", "Alle frei", "Eins", "Zwei"),
            ("en", "All free", "One", "Two"),
            ("sr-Latn", "Svi", "Jedan", "Dva"),
        )
        for place, text in (("1:1", one), ("2:1", two), ("2:2", three), ("2:all", f"{two} {three}"))
    ]


def _mgsm(web: Web) -> tuple[Download, Rows]:
    web.files |= {"/mgsm_en.tsv": b"Two and two?\t4\n", "/mgsm_de.tsv": b"Zwei und zwei?\t4\n"}
    plan = Download(
        converter="mgsm", each=(f"{web.address}/mgsm_{{code}}.tsv",), languages=("en", "de")
    )
    return plan, [("mgsm:0", "en", "Two and two?"), ("mgsm:0", "de", "Zwei und zwei?")]


def _xcopa(web: Web) -> tuple[Download, Rows]:
    for language in ("et", "it"):
        for split in ("val", "test"):
            row = {"premise": f"{language} a", "choice1": "b", "choice2": "c", "idx": 7}
            web.files[f"/{split}.{language}.jsonl"] = (json.dumps(row) + "\n").encode()
    plan = Download(
        converter="xcopa",
        each=(f"{web.address}/val.{{code}}.jsonl", f"{web.address}/test.{{code}}.jsonl"),
        languages=("et", "it"),
    )
    return plan, [
        (f"xcopa:{split}:7:{part}", language, text)
        for language in ("et", "it")
        for split in ("val", "test")
        for part, text in (("premise", f"{language} a"), ("choice1", "b"), ("choice2", "c"))
    ]


def _quran(web: Web) -> tuple[Download, Rows]:
    def book(**verse: str) -> bytes:
        return json.dumps([{"id": 3, "name": "n", "verses": [{"id": 5, **verse}]}]).encode()

    web.files |= {
        "/quran.json": book(text="عربي"),
        "/quran_en.json": book(text="عربي", translation="English"),
        "/quran_fr.json": book(text="عربي", translation="Français"),
    }
    plan = Download(
        converter="quran",
        once=(f"{web.address}/quran.json",),
        each=(f"{web.address}/quran_{{code}}.json",),
        once_languages=("ar",),
        languages=("en", "fr"),
    )
    texts = {"ar": "عربي", "en": "English", "fr": "Français"}
    return plan, [("quran:3:5", language, text) for language, text in texts.items()]


def _cldr_names(web: Web) -> tuple[Download, Rows]:
    for code, names in {
        "en": {"DE": "Germany", "DE-alt-x": "FRG", "ZZ": "ZZ"},
        "ja": {"DE": "ドイツ"},
    }.items():
        content = {"main": {code: {"localeDisplayNames": {"territories": names}}}}
        web.files[f"/{code}.json"] = json.dumps(content).encode()
    plan = Download(
        converter="cldr_names", each=(f"{web.address}/{{code}}.json",), languages=("en", "ja")
    )
    return plan, [("cldr:territories:DE", "en", "Germany"), ("cldr:territories:DE", "ja", "ドイツ")]


def _cldr_emoji(web: Web) -> tuple[Download, Rows]:
    for code, name in {"en": "flag", "de": "Flagge"}.items():
        entries = {"🏳️": {"default": ["x"], "tts": [name]}, "🏴": {"default": ["y"]}}
        content = {"annotations": {"annotations": entries}}
        web.files[f"/{code}.json"] = json.dumps(content).encode()
    plan = Download(
        converter="cldr_emoji", each=(f"{web.address}/{{code}}.json",), languages=("en", "de")
    )
    return plan, [
        ("cldr:emoji:1f3f3-fe0f", "en", "flag"),
        ("cldr:emoji:1f3f3-fe0f", "de", "Flagge"),
    ]


PUBLISHED: dict[str, Callable[[Web], tuple[Download, Rows]]] = {
    "tatoeba": _tatoeba,
    "moses": _moses,
    "parallel_lines": _parallel_lines,
    "udhr": _udhr,
    "mgsm": _mgsm,
    "xcopa": _xcopa,
    "quran": _quran,
    "cldr_names": _cldr_names,
    "cldr_emoji": _cldr_emoji,
}


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
    plan, wanted = _tatoeba(web)
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
    plan, _ = _moses(web)
    del web.files["/en-jp.zip"]
    (result,) = fetch(tmp_path, {"made": _source(plan)}, None)
    assert result.missing == ["ja"]
    assert set(result.rows) == {"en", "de"}
    web.files.clear()
    with pytest.raises(TrainingError, match="made: no two languages came; its address"):
        list(fetch(tmp_path / "new", {"made": _source(plan)}, None))


def test_arabic_alone_comes_from_the_file_of_the_whole(web: Web, tmp_path: Path) -> None:
    plan, _ = _quran(web)
    (result,) = fetch(tmp_path, {"made": _source(plan)}, ["ar"])
    assert result.rows == {"ar": 1, "en": 1}
    (result,) = fetch(tmp_path, {"made": _source(plan)}, ["fr"])
    assert result.rows == {"en": 1, "fr": 1}


def test_what_cannot_be_fetched_says_so(web: Web, tmp_path: Path) -> None:
    plan, _ = _moses(web)
    with pytest.raises(TrainingError, match="none of the languages fi, sw; it has de, ja"):
        list(fetch(tmp_path, {"made": _source(plan)}, ["fi", "sw"]))
    with pytest.raises(TrainingError, match=r"bible has no converter; get it from https://github"):
        list(fetch(tmp_path, {"bible": known_sources()["bible"]}, None))
    web.files["/de-en.zip"] = _zip({"X.de-en.de": "a\nb\n", "X.de-en.en": "a\n"})
    with pytest.raises(TrainingError, match="1 English lines and 2 in de; the file is damaged"):
        list(fetch(tmp_path, {"made": _source(plan)}, ["de"]))
    web.files["/de-en.zip"] = _zip({"X.de-en.fr": "a\n", "X.de-en.en": "a\n"})
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
    plan, wanted = _mgsm(web)
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
