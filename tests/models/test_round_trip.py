"""Whatever may be asked for reads back; whatever is spoilt is refused."""

from __future__ import annotations

import contextlib
import shutil
import string
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import bundle as bundle_module
from models.bundle import Bundle, BundleError, Granularity, write
from tests.models.made import FIDELITY, FILES, manifest_values

_names = st.text(alphabet=string.ascii_lowercase + string.digits, min_size=1, max_size=12)


_versions = st.from_regex(r"[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}([a-z0-9.+-]{0,10})", fullmatch=True)


_languages = st.lists(
    st.from_regex(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,2}", fullmatch=True), max_size=5, unique=True
)


_keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


_json: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | _keys,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=12,
)


_objects = st.dictionaries(_keys, _json, max_size=4)


@st.composite
def manifests(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What a writer may ask for: every field of the manifest, and the files."""
    names = draw(st.lists(_names, min_size=1, max_size=5, unique=True))
    granularities = [draw(st.sampled_from(["phrase", "sentence", "paragraph"])) for _ in names]
    granularities[1:] = [draw(st.sampled_from([g.value for g in Granularity])) for _ in names[1:]]
    text_names = [n for n, g in zip(names, granularities, strict=True) if g != "word"]
    rows = draw(st.permutations(range(len(names))))
    file_names = draw(st.lists(_names.map("f{}".format), min_size=3, max_size=5, unique=True))
    vocabulary_size = draw(st.integers(1, 2**31))
    dimension = draw(st.integers(1, 10_000))
    manifest = {
        "name": draw(_names),
        "version": draw(_versions),
        "dimension": dimension,
        "vocabulary_size": vocabulary_size,
        "languages": draw(_languages),
        "pooling": "mean",
        "adapters": [
            {
                "name": name,
                "granularity": granularity,
                "row": row,
                "max_tokens": draw(st.integers(3, 10_000)),
            }
            for name, granularity, row in zip(names, granularities, rows, strict=True)
        ],
        "routing": {
            key: draw(st.sampled_from(text_names)) for key in ("phrase", "sentence", "paragraph")
        },
        "comparable": draw(st.lists(st.lists(st.sampled_from(names), max_size=3), max_size=3)),
        "graphs": {"float32": file_names[0]},
        "fidelity": draw(st.sampled_from([{}, {"bfloat16": FIDELITY}])),
        "tokenizer": {
            "file": file_names[1],
            "pad_token_id": draw(st.integers(0, vocabulary_size - 1)),
        },
        "model_card": file_names[2],
        "provenance": draw(_objects),
        "scores": draw(_objects),
        "calibration": draw(st.none() | _objects),
    }
    manifest["dimensions"] = draw(st.none() | _dimensions(dimension))
    manifest["token_layer"] = draw(st.none() | _token_layers(names))
    return manifest, {name: draw(st.binary(max_size=64)) for name in file_names}


@st.composite
def _token_layers(draw: st.DrawFn, adapters: list[str]) -> dict[str, Any]:
    layers = draw(st.integers(1, 24))
    errors = st.lists(st.floats(0, 100), min_size=layers, max_size=layers)
    measured = {
        "adapter": draw(st.sampled_from(adapters)),
        "sentences": draw(st.integers(1, 10_000)),
        "aer": draw(errors),
        "aer_by_set": draw(st.dictionaries(_names, errors, min_size=1, max_size=3)),
    }
    return {
        "layer": draw(st.integers(1, layers)),
        "layers": layers,
        "measured": draw(st.sampled_from([None, measured])),
    }


def _dimensions(largest: int) -> st.SearchStrategy[list[int]]:
    shorter = st.sets(st.integers(1, largest - 1), max_size=3) if largest > 1 else st.just(set())
    return shorter.map(lambda numbers: [*sorted(numbers), largest])


@given(manifests())
@settings(max_examples=60, deadline=None)
def test_any_bundle_reads_back_as_it_was_asked_for(
    asked: tuple[dict[str, Any], dict[str, bytes]],
) -> None:
    manifest, files = asked
    with tempfile.TemporaryDirectory() as folder:
        written = write(Path(folder) / "b", manifest, files)
        opened = Bundle.open(written.path)
        assert opened == written
        said = opened.manifest.model_dump(mode="json", exclude={"format_version", "files"})
        assert said == manifest
        assert {name: opened.file(name).read_bytes() for name in files} == files
        # Written again from what was read, it is the same folder, byte for byte.
        again = write(Path(folder) / "c", opened.manifest.model_dump(mode="json"), files)
        assert (again.path / "manifest.json").read_bytes() == (
            written.path / "manifest.json"
        ).read_bytes()
        shutil.rmtree(again.path)


@given(position=st.integers(0, 10**6), replacement=st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_one_changed_byte_of_the_manifest_never_ends_in_another_error(
    spoilable: Path, position: int, replacement: int
) -> None:
    content = (spoilable / "manifest.json").read_bytes()
    position %= len(content)
    spoiled = content[:position] + bytes([replacement]) + content[position + 1 :]
    with contextlib.suppress(BundleError):
        bundle_module._parse_manifest(spoilable, spoiled)


@pytest.fixture(scope="module")
def spoilable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("spoilable") / "b", manifest_values(), FILES).path
