"""What the tutorial tells one to type trains adapters, makes a bundle and serves it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from tests.running_service import PROGRAM, ROOT, running_service

_PAGE = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
_STEPS = re.findall(r"^```sh\n(.*?)^```", _PAGE, re.DOTALL | re.MULTILINE)
# Seconds for one step, on a machine that others use too.
_PATIENCE_S = 600


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_tutorial_from_a_corpus_to_a_service(tmp_path: Path) -> None:
    for name in ("docs", "models"):
        (tmp_path / name).symlink_to(ROOT / name)
    served = next(place for place, step in enumerate(_STEPS) if "polygrain serve" in step)
    assert _STEPS[0].startswith("python3 -m venv")  # what these tests run in
    for step in _STEPS[1:served]:
        _run(step, tmp_path)

    scores = json.loads((tmp_path / "runs/tutorial/scores.json").read_text(encoding="utf-8"))
    # The encoder alone finds nearly all; adapters that training broke would not.
    assert scores["adapter_by_task"]["routed"]["tatoeba"] > 80
    bundle = tmp_path / "runs/tutorial/bundle"
    with running_service(tmp_path, bundle) as address:
        with urllib.request.urlopen(f"{address}/info") as described:
            info = json.load(described)
        assert info["name"] == "my-adapters"
        compared, embedded = _STEPS[served + 1 :]
        host = address.removeprefix("http://")
        answer = _run(compared.replace("localhost:8080", host), tmp_path)
        assert np.argmax(json.loads(answer)["scores"], axis=1).tolist() == [1, 0]
    _run(embedded, tmp_path)
    vectors = np.load(tmp_path / "runs/tutorial/vectors.npy")
    assert len(vectors) == 2
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def _run(step: str, folder: Path) -> str:
    """What the commands of a step print; each must succeed."""
    result = subprocess.run(
        ["bash", "-e", "-c", step.replace(".venv/bin", str(PROGRAM.parent))],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    assert result.returncode == 0, (step, result.stderr)
    return result.stdout


def test_the_files_of_the_tutorial_are_small() -> None:
    files = [file for file in (ROOT / "docs/tutorial").iterdir() if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 100_000
