from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from tests.tiny_training import write_table, write_xz
from training import cli as program
from training.corpora.rows import Row
from training.corpora.table import FORMAT_VERSION, REPORT_KEY, SCHEMA
from training.dictionary import (
    METADATA_KEY,
    Dictionary,
    Word,
    from_table,
    is_word,
    merged,
    word_pairs,
)
from training.errors import TrainingError

WORDS = st.builds(Word, st.sampled_from(["en", "de", "ja"]), st.sampled_from(["a", "B", "b", "ß"]))
MEANINGS = st.lists(st.lists(WORDS, max_size=5), max_size=6)


def _partners(
    meanings: list[list[Word]], language: str, word: str, into: set[str]
) -> dict[tuple[str, str], int]:
    """By definition: of every meaning that has the word, the words of other languages."""
    counts: dict[tuple[str, str], int] = {}
    for group in meanings:
        if any(w.language == language and w.word.casefold() == word.casefold() for w in group):
            for other in set(group):
                if other.language != language and other.language in into:
                    counts[other] = counts.get(other, 0) + 1
    return counts


@given(meanings=MEANINGS, word=WORDS, into=st.none() | st.sets(st.sampled_from(["en", "de"])))
def test_partners_are_what_shares_a_meaning(
    meanings: list[list[Word]], word: Word, into: set[str] | None
) -> None:
    dictionary = Dictionary.of(meanings)
    found = dictionary.partners(word.language, word.word.upper(), into)
    expected = _partners(meanings, *word, {"en", "de", "ja"} if into is None else into)
    assert {(each.language, each.word): each.meanings for each in found} == expected
    assert [each.meanings for each in found] == sorted(expected.values(), reverse=True)
    everywhere = _partners(meanings, *word, {"en", "de", "ja"})
    assert dictionary.knows(*word) == bool(everywhere)


@given(
    meanings=MEANINGS,
    left=st.lists(st.sampled_from(["a", "B", "b", "ß", "SS", "x"]), max_size=5),
    right=st.lists(st.sampled_from(["A", "b", "ß", "X", "y"]), max_size=5),
)
def test_links_are_partners_and_what_is_the_same(
    meanings: list[list[Word]], left: list[str], right: list[str]
) -> None:
    def linked(one: str, other: str) -> bool:
        partners = _partners(meanings, "en", one, {"de"})
        forms = {one.casefold(), *(word.casefold() for _, word in partners)}
        return other.casefold() in forms

    assert Dictionary.of(meanings).links(left, "en", right, "de") == [
        (i, j) for i, one in enumerate(left) for j, other in enumerate(right) if linked(one, other)
    ]


@given(meanings=MEANINGS)
def test_only_meanings_of_two_languages_are_kept(meanings: list[list[Word]]) -> None:
    expected = [
        list(dict.fromkeys(group)) for group in meanings if len({w.language for w in group}) > 1
    ]
    dictionary = Dictionary.of(meanings)
    assert list(dictionary.meanings()) == expected
    assert len(dictionary) == sum(map(len, expected))
    assert set(dictionary.languages) == {word.language for group in expected for word in group}


def test_a_file_holds_the_same_and_can_be_read_in_part(tmp_path: Path) -> None:
    groups = [
        [Word("en", "dog"), Word("de", "Hund"), Word("fr", "chien")],
        [Word("en", "house"), Word("fr", "maison")],
    ]
    file = tmp_path / "words.parquet"
    Dictionary.of(groups).write(file)
    assert list(Dictionary.read(file).meanings()) == groups
    part = Dictionary.read(file, ["en", "de"])
    assert part.languages == ("de", "en")
    assert [each.word for each in part.partners("de", "HUND")] == ["dog"]
    assert not part.knows("en", "house")
    with pytest.raises(FileExistsError, match="choose another name"):
        Dictionary.of(groups).write(file)


def test_other_files_are_no_dictionaries(tmp_path: Path) -> None:
    file = tmp_path / "words.parquet"
    file.write_text("no Parquet")
    with pytest.raises(TrainingError, match="is no dictionary"):
        Dictionary.read(file)
    pq.write_table(pa.table({"meaning": [1]}), file)
    with pytest.raises(TrainingError, match="corpus dictionary"):
        Dictionary.read(file)
    newer = {METADATA_KEY: json.dumps({"format_version": 2})}
    pq.write_table(pa.table({"meaning": [1]}).replace_schema_metadata(newer), file)
    with pytest.raises(TrainingError, match="no dictionary of format 1"):
        Dictionary.read(file)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Words and phrases of three sources, with the report of a build."""
    rows = [
        Row("omw:1", "omw", "CC0", "phrase", "en", "snore"),
        Row("omw:1", "omw", "CC0", "phrase", "en", "saw wood"),
        Row("omw:1", "omw", "CC0", "phrase", "de", "schnarchen"),
        Row("omw:1", "omw", "CC0", "phrase", "ja", "いびき"),
        Row("omw:1", "omw", "CC0", "sentence", "fr", "Ronfler"),
        Row("p:1", "panlex_bli", "CC0", "phrase", "de", "Stein"),
        Row("p:1", "panlex_bli", "CC0", "phrase", "fr", "pierre"),
        Row("x:1", "other", "CC0", "phrase", "de", "Ding"),
        Row("x:1", "other", "CC0", "phrase", "fr", "truc"),
    ]
    file = write_table(tmp_path / "corpus.parquet", rows)
    report = {
        "format_version": FORMAT_VERSION,
        "sources": {"omw": {}, "panlex_bli": {}, "other": {}},
    }
    schema = SCHEMA.with_metadata({REPORT_KEY: json.dumps(report)})
    pq.write_table(pq.read_table(file).cast(schema), file)
    return file


def test_a_dictionary_of_a_tables_word_lists(table: Path) -> None:
    dictionary = from_table(table, ("omw", "panlex_bli"))
    assert list(dictionary.meanings()) == [
        [Word("en", "snore"), Word("de", "schnarchen"), Word("ja", "いびき")],
        [Word("de", "Stein"), Word("fr", "pierre")],
    ]
    assert from_table(table, ("omw",), ["en", "ja"]).languages == ("en", "ja")
    with pytest.raises(TrainingError, match="no source tico19_terms; it has omw, other"):
        from_table(table)
    with pytest.raises(TrainingError, match="no word in two languages"):
        from_table(table, ("panlex_bli",), ["en", "de"])


def test_a_users_pairs_join_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.tsv.xz"
    header = ("lang_a", "lang_b", "word_a", "word_b")
    write_xz(file, [header, ("en", "gsw", "house", "Huus"), ("en", "gsw", "cafe\u0301", "Kafi")])
    both = merged(Dictionary.of([[Word("en", "house"), Word("de", "Haus")]]), word_pairs(file))
    assert {each.word for each in both.partners("en", "House")} == {"Haus", "Huus"}
    assert [each.word for each in both.partners("en", "caf\u00e9")] == ["Kafi"]
    write_xz(file, [header, ("en", "gsw", "big house", "Huus")])
    with pytest.raises(TrainingError, match="line 2: 'big house' is no single word"):
        list(word_pairs(file))
    write_xz(file, [("a", "b")])
    with pytest.raises(TrainingError, match="expected"):
        list(word_pairs(file))


def test_the_command_makes_one_of_a_table_and_of_own_pairs(table: Path, tmp_path: Path) -> None:
    words, out = tmp_path / "mine.tsv", tmp_path / "words.parquet"
    words.write_text("lang_a\tlang_b\tword_a\tword_b\nde\tgsw\tStein\tStei\n")

    def run(*arguments: object) -> Result:
        command = ["corpus", "dictionary", *map(str, arguments)]
        return CliRunner().invoke(program.cli, command, catch_exceptions=False)

    options = ("--source", "panlex_bli", "--words", words, "--languages", "de,fr")
    done = run(table, *options, "--out", out)
    assert done.exit_code == 0
    assert f"wrote {out}: 4 words, 3 languages" in done.stderr
    partners = {each.word for each in Dictionary.read(out).partners("de", "stein")}
    assert partners == {"pierre", "Stei"}
    assert run("--words", words, "--out", tmp_path / "own.parquet").exit_code == 0
    assert Dictionary.read(tmp_path / "own.parquet").languages == ("de", "gsw")
    with pytest.raises(TrainingError, match="give a corpus table, or --words"):
        run("--out", tmp_path / "none.parquet")


@pytest.mark.parametrize("text", ["dog", "don't", "हिन्दी", "世界", "kilo-watt", "e\u0301te\u0301"])
def test_words(text: str) -> None:
    assert is_word(text)


@pytest.mark.parametrize(
    "text", ["", "saw wood", "UP!", "1984", "a, b", "(dog)", "北京大学人民医院西院区"]
)
def test_no_words(text: str) -> None:
    assert not is_word(text)
