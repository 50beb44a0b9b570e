from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.training.corpora.web import Web, serve
from training.corpora.download import NotThere, download
from training.errors import TrainingError

CONTENT = random.Random(1).randbytes(3_000_000)


@pytest.fixture
def web() -> Iterator[Web]:
    with serve() as web:
        web.files["/a/f.zip"] = CONTENT
        yield web


def test_a_file_comes_whole_with_its_size_and_hash(web: Web, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "f.zip"
    fetched = download(f"{web.address}/a/f.zip", target)
    assert target.read_bytes() == CONTENT
    assert fetched.bytes == len(CONTENT)
    assert fetched.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert [path.name for path in target.parent.iterdir()] == ["f.zip"]


def test_a_cut_download_goes_on_where_it_stopped(web: Web, tmp_path: Path) -> None:
    target = tmp_path / "f.zip"
    web.cut_after = 1_000_000
    for have in (1_000_000, 2_000_000):
        with pytest.raises(TrainingError, match=f"cut off after {have:,} of 3,000,000 bytes"):
            download(f"{web.address}/a/f.zip", target)
        assert not target.exists()
    web.cut_after = None
    fetched = download(f"{web.address}/a/f.zip", target)
    assert target.read_bytes() == CONTENT
    assert fetched.sha256 == hashlib.sha256(CONTENT).hexdigest()
    ranges = [wanted for _, wanted in web.asked]
    assert ranges == [None, "bytes=1000000-", "bytes=2000000-"]


@pytest.mark.parametrize("has_etags", [True, False])
def test_a_part_of_what_has_changed_since_is_not_used(
    web: Web, has_etags: bool, tmp_path: Path
) -> None:
    target = tmp_path / "f.zip"
    web.cut_after, web.has_etags = 1_000_000, has_etags
    with pytest.raises(TrainingError, match="cut off"):
        download(f"{web.address}/a/f.zip", target)
    web.cut_after = None
    web.files["/a/f.zip"] = CONTENT[::-1]
    download(f"{web.address}/a/f.zip", target)
    assert target.read_bytes() == CONTENT[::-1]


def test_a_part_that_is_already_whole_or_too_long_is_asked_for_anew(
    web: Web, tmp_path: Path
) -> None:
    target = tmp_path / "f.zip"
    web.cut_after = 1_000_000
    with pytest.raises(TrainingError, match="cut off"):
        download(f"{web.address}/a/f.zip", target)
    web.cut_after = None
    part = tmp_path / ".f.zip.part"
    part.write_bytes(CONTENT + b"more")
    download(f"{web.address}/a/f.zip", target)
    assert target.read_bytes() == CONTENT
    assert not part.exists()


def test_what_is_wrong_is_said_with_what_to_do(web: Web, tmp_path: Path) -> None:
    with pytest.raises(NotThere, match=r"/none: there is no such file \(HTTP 404\)"):
        download(f"{web.address}/none", tmp_path / "x")
    web.status = 503
    with pytest.raises(TrainingError, match="the server answers HTTP 503; try later"):
        download(f"{web.address}/a/f.zip", tmp_path / "x")
    with serve() as gone:
        address = gone.address
    with pytest.raises(TrainingError, match=r"127\.0\.0\.1:\d+ cannot be reached .*check the net"):
        download(f"{address}/a/f.zip", tmp_path / "x")
    assert list(tmp_path.iterdir()) == []
