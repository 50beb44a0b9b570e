"""docs/corpora.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from training.corpora.cleaning import LENGTHS, RATIO_GRACE, RATIOS, Reason
from training.corpora.identification import MAXIMUM_CLAIMED, MINIMUM_PROBABILITY, MINIMUM_WEIGHT
from training.corpora.scripts import DENSITY, ScriptGroup
from training.corpora.sources import known_sources

DOCS = Path(__file__).parents[3] / "docs"
CORPORA = (DOCS / "corpora.md").read_text(encoding="utf-8")


def test_the_limits_in_the_document_are_those_of_the_code() -> None:
    rows = {
        granularity: tuple(
            tuple(int(limit.replace(",", "")) for limit in cell.split("–"))
            for cell in cells.split(" | ")
        )
        for granularity, cells in re.findall(r"^\| (\w+) \| ([\d,–| ]+) \|$", CORPORA, re.MULTILINE)
    }
    groups = (ScriptGroup.ALPHABETIC, ScriptGroup.HANGUL, ScriptGroup.IDEOGRAPHIC)
    assert rows == {
        granularity: tuple(limits[group] for group in groups)
        for granularity, limits in LENGTHS.items()
    }


def test_the_reasons_in_the_document_are_those_of_the_code_in_order() -> None:
    table = CORPORA.split("| Reason | Rule |\n|---|---|\n", 1)[1].split("\n\n", 1)[0]
    assert re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE) == [str(each) for each in Reason]
    assert (RATIOS["sentence"], RATIOS["paragraph"], RATIO_GRACE) == (3, 2.5, 15)
    assert "more than 3 times, a paragraph more than 2.5 times" in table
    assert "after 15 characters are added" in table
    assert (DENSITY[ScriptGroup.IDEOGRAPHIC], DENSITY[ScriptGroup.HANGUL]) == (2.5, 2)
    assert "kana counts 2.5, a Hangul syllable 2" in table


def test_the_identifier_is_believed_where_its_decision_says() -> None:
    decision = (DOCS / "adr/0006-language-identification.md").read_text(encoding="utf-8")
    assert f"at least {MINIMUM_WEIGHT:.0f} characters" in decision
    assert f"at least {MINIMUM_PROBABILITY}\ngoes to another" in decision
    assert f"stays where its own language gets more than {MAXIMUM_CLAIMED}" in decision
    assert f"gives the other at least {MINIMUM_PROBABILITY} and" in CORPORA
    assert f"its own at most {MAXIMUM_CLAIMED}" in CORPORA


def test_the_table_of_sources_is_that_of_the_code() -> None:
    table = CORPORA.split("| Source | Licence | Attribution | Address | `corpus fetch` |\n", 1)[1]
    rows = [line.strip("| ").split(" | ") for line in table.split("\n\n", 1)[0].splitlines()[1:]]
    assert rows == [
        [
            name,
            source.licence,
            source.attribution,
            " ".join(f"<{address}>" for address in dict.fromkeys(source.addresses)),
            "no converter" if source.download is None else "yes",
        ]
        for name, source in known_sources().items()
    ]
