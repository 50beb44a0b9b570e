"""Small files in the formats in which corpora are published, and the rows that they hold."""

from __future__ import annotations

import bz2
import io
import json
import zipfile
from collections.abc import Callable

from tests.training.corpora.web import Web
from training.corpora.sources import Download

Rows = list[tuple[str, str, str]]


def zipped(files: dict[str, str]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


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
    web.files["/de-en.zip"] = zipped(
        {
            "README": "about",
            "X.de-en.de": "Eins\u2028und zwei\nDrei\n\n",
            "X.de-en.en": "One\u0085and two\nThree\nalone\n",
            "X.de-en.xml": "<x/>",
        }
    )
    web.files["/en-jp.zip"] = zipped({"X.en-jp.en": "Four", "X.en-jp.jp": "四"})
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
    web.files["/udhr.zip"] = zipped(
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
