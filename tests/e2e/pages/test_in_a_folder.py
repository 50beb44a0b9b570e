"""What pages tell one to type works in a folder that holds what they suppose."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e.pages.documented import blocks_of, words_of
from tests.e2e.pages.shell import run_python, show, type_in
from tests.running_service import ROOT
from training.precisions.running import has_bfloat16

# What stands where, by the name that the page has for it: a thing of conftest.py.
_SETS = {"DATA/train": "training data", "DATA/eval": "test sets"}
_BOTH = {**_SETS, "DATA/verse": "more training data"}
FOLDERS: Mapping[str, Mapping[str, str]] = {
    "README.md": {
        "lines.txt": "lines in de",
        "english.txt": "lines in en",
        "german.txt": "lines in de",
        "DATA": "training data",
        "TESTS": "test sets",
        "RECIPE.toml": "recipe",
        "CARD.md": "card",
    },
    "docs/ablations.md": {
        **_SETS,
        "training/recipes/ablations/negatives.toml": "plan",
        "build/corpus.parquet": "table",
        "runs/backbone-1.0/context/backbone": "encoder",
    },
    "docs/alignment.md": {
        "english.txt": "lines in en",
        "german.txt": "lines in de",
        "novel.en.txt": "lines in en",
        "novel.de.txt": "lines in de",
        "lines.en.txt": "one line in en",
        "lines.th.txt": "one line in th",
    },
    "docs/augmentation.md": {"build/corpus.parquet": "table", "mine.tsv": "words"},
    "docs/backbone.md": {
        **_BOTH,
        "training/recipes/polygrain-mini-1.0-backbone.toml": "recipe of a backbone",
        "build": "",
    },
    "docs/calibration.md": {**_SETS, "BUNDLE": "bundle", "build/corpus.parquet": "table"},
    "docs/collections.md": {"articles.tsv": "articles"},
    "docs/corpora.md": {**_BOTH, "RECIPE.toml": "recipe"},
    "docs/deployment.md": {},
    "docs/encoders.md": {**_SETS, "RECIPE.toml": "recipe", "FOLDER": "encoder"},
    "docs/evaluation.md": {**_SETS, "bundles/mine": "bundle", "other_scores.json": "scores"},
    "docs/mining.md": {
        **_SETS,
        "english.txt": "lines in en",
        "french.txt.gz": "lines in fr, compressed",
        "en.txt": "lines in en",
        "sw.txt": "lines in sw",
        "bundles/mine": "shipped bundle",
        "build": "",
    },
    "docs/precisions.md": {"models/polygrain-mini": "bundle", "corpus.parquet": "table"},
    "docs/training.md": {
        **_SETS,
        "RECIPE.toml": "recipe",
        "CARD.md": "card",
        "models/polygrain-mini": "bundle",
    },
    "docs/trim.md": {
        **_SETS,
        "models/polygrain-mini": "bundle",
        "corpus.parquet": "table",
    },
}
# What names a file or folder that a command writes; or a file that its standard output goes to.
_WRITES = re.compile(r"(?:--(?:out|run|report|json|plots|html)|>>?) (\S+)")


@pytest.mark.parametrize("page", FOLDERS)
def test_every_command_works_and_writes_what_it_says(
    page: str,
    things: Mapping[str, Path],
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if page == "docs/precisions.md" and not has_bfloat16():
        pytest.skip("the processor has no instructions for bfloat16, which the page asks for")
    # Of the tiny table, one unit in ten is held out from a backbone: of one in 200 too few are.
    monkeypatch.setattr("training.student.data._ONE_IN", 10)
    for name, thing in FOLDERS[page].items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).symlink_to(things[thing]) if thing else (tmp_path / name).mkdir()
    for block in blocks_of(page):
        if block.language == "python":
            run_python(block.commands[0], tmp_path, address)
            continue
        show(block, type_in(block.commands, tmp_path, address), address)
        for command in block.commands:
            for name in _WRITES.findall(" ".join(words_of(command))):
                written = tmp_path / name
                assert written.stat().st_size > 0, (page, command, name)


def test_the_readme_shows_every_endpoint() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"^curl .*:8080/(\w+)", text, re.MULTILINE))
    assert shown == {"embed", "similarity", "align"}
