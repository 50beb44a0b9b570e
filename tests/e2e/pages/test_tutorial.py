"""What the tutorial tells one to type trains adapters, makes a bundle and serves it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.e2e.pages.documented import blocks_of
from tests.e2e.pages.shell import type_in
from tests.running_service import ROOT, service_started_by

PAGES = ("docs/tutorial.md",)


def test_the_tutorial_from_a_corpus_to_a_service(tmp_path: Path) -> None:
    for name in ("docs", "models"):
        (tmp_path / name).symlink_to(ROOT / name)
    *steps, serve, compare, embed = blocks_of("docs/tutorial.md")
    for step in steps:
        type_in(step.commands, tmp_path)

    scores = json.loads((tmp_path / "runs/tutorial/scores.json").read_text(encoding="utf-8"))
    # The encoder alone finds nearly all; adapters that training broke would not.
    assert scores["adapter_by_task"]["routed"]["tatoeba"] > 80
    (command,) = serve.commands
    with service_started_by(command.split()[1:], tmp_path) as service:
        answer = json.loads(type_in(compare.commands, tmp_path, service.host))
        assert answer["model"] == "my-adapters"
        assert np.argmax(answer["scores"], axis=1).tolist() == [1, 0]
    type_in(embed.commands, tmp_path)
    vectors = np.load(tmp_path / "runs/tutorial/vectors.npy")
    assert len(vectors) == 2
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_the_files_of_the_tutorial_are_small() -> None:
    files = [file for file in (ROOT / "docs/tutorial").iterdir() if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 100_000
