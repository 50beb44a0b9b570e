from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest
import torch
from pydantic import BaseModel

from training.errors import TrainingError
from training.files import replace
from training.run import Run, read_run, sha256_of

CPU = torch.device("cpu")


class Settings(BaseModel):
    rate: float
    rows: int = 4


def test_a_folder_belongs_to_its_recipe_and_inputs(tmp_path: Path) -> None:
    with Run.claim(tmp_path / "run", Settings(rate=1), {"corpus": "a"}, CPU) as run:
        run.record({"pairs": 3})
    with Run.claim(tmp_path / "run", Settings(rate=1), {"corpus": "a"}, CPU):
        pass
    record = read_run(tmp_path / "run")
    assert record["recipe"] == {"rate": 1, "rows": 4}
    assert (record["corpus"], record["pairs"]) == ("a", 3)
    assert [session["device"] for session in record["sessions"]] == ["cpu", "cpu"]
    assert record["versions"]["torch"] == torch.__version__
    for settings, inputs, wrong in (
        (Settings(rate=2), {"corpus": "a"}, "recipe"),
        (Settings(rate=1), {"corpus": "b"}, "corpus"),
        (Settings(rate=2), {"corpus": "b"}, "recipe and corpus"),
    ):
        with (
            pytest.raises(TrainingError, match=f"made with another {wrong}; use a new folder"),
            Run.claim(tmp_path / "run", settings, inputs, CPU),
        ):
            pass
    assert read_run(tmp_path / "run") == record


def test_a_folder_belongs_to_one_process(tmp_path: Path) -> None:
    with (
        Run.claim(tmp_path, Settings(rate=1), {}, CPU),
        pytest.raises(TrainingError, match="in use by another training process"),
        Run.claim(tmp_path, Settings(rate=1), {}, CPU),
    ):
        pass
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it was let go


def test_an_older_run_goes_on_by_the_defaults_of_today(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"recipe": {"rate": 1.0}, "backbone": "x"}))
    with Run.claim(tmp_path, Settings(rate=1), {"backbone": "x", "corpus": "a"}, CPU):
        pass
    assert read_run(tmp_path)["corpus"] == "a"
    with (
        pytest.raises(TrainingError, match="another recipe and corpus"),
        Run.claim(tmp_path, Settings(rate=1, rows=5), {"backbone": "x", "corpus": "b"}, CPU),
    ):
        pass


def test_no_run_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="is no training run"):
        read_run(tmp_path)


def test_sha256_knows_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a").write_bytes(b"one")
    (folder / "b").write_bytes(b"two")
    before = sha256_of(folder)
    (folder / ".hidden").write_bytes(b"x")
    assert sha256_of(folder) == before
    (folder / "b").rename(folder / "c")
    assert sha256_of(folder) != before
    (folder / "c").rename(folder / "b")
    assert sha256_of(folder) == before
    (folder / "deep" / "a").write_bytes(b"One")
    assert sha256_of(folder) != before
    # The digest of "two" by sha256sum.
    two = "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"
    assert sha256_of(folder / "b") == two


def test_a_file_or_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_text("old")

    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace(file, fail)
    assert file.read_text() == "old"
    replace(file, lambda path: path.write_text("new"))
    assert file.read_text() == "new"

    def make(path: Path) -> None:
        path.mkdir()
        (path / "inner").write_text("x")

    def fail_inside(path: Path) -> None:
        make(path)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace(folder, fail_inside)
    assert not folder.exists()
    replace(folder, make)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    assert (folder / "inner").read_text() == "x"
