"""A bundle of arbitrary bytes for a test to write, spoil and refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.bundle import Bundle, BundleError

REPOSITORY = Path(__file__).parents[2]

FILES: dict[str, bytes] = {
    "encoder.onnx": bytes(range(256)) * 20,
    "tokenizer.json": b"{}",
    "MODEL_CARD.md": "# Karte für ein Bündel\n".encode(),
}

FIDELITY = {
    "mean_cosine": 0.9995,
    "worst_cosine": 0.99,
    "top10_overlap": 0.98,
    "batch_drift": 0.0005,
    "largest_change": 0.002,
    "texts": 500,
    "source": "some corpus",
    "runtime": "a runtime 1.0",
    "processor": "a processor",
}


def manifest_values() -> dict[str, Any]:
    """Every field that a writer gives, each with a value of its own."""
    return {
        "name": "test-bundle",
        "version": "1.2.3",
        "dimension": 8,
        "vocabulary_size": 100,
        "languages": ["en", "zh-Hant", "sr-Latn", "yue"],
        "pooling": "mean",
        "adapters": [
            {"name": "ph", "granularity": "phrase", "row": 1, "max_tokens": 32},
            {"name": "st", "granularity": "sentence", "row": 0, "max_tokens": 128},
            {"name": "pg", "granularity": "paragraph", "row": 2, "max_tokens": 384},
            {"name": "wd", "granularity": "word", "row": 3, "max_tokens": 128},
        ],
        "routing": {"phrase": "ph", "sentence": "st", "paragraph": "pg"},
        "comparable": [["ph", "st"]],
        "graphs": {"float32": "encoder.onnx"},
        "fidelity": {"bfloat16": FIDELITY},
        "tokenizer": {"file": "tokenizer.json", "pad_token_id": 0},
        "model_card": "MODEL_CARD.md",
        "provenance": {"backbone": "none", "seed": 7, "κλειδί": ["ü", None, 0.1]},
        "scores": {"tatoeba": {"de": 0.5}},
        "calibration": None,
    }


def refusal(path: Path) -> str:
    """The one line with which `path` is refused."""
    with pytest.raises(BundleError) as caught:
        Bundle.open(path)
    message = str(caught.value)
    assert message.isprintable(), "a line break or a control character"
    assert len(message) <= 1001
    assert "Value error" not in message, "pydantic's own words"
    return message


def rewrite_manifest(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest of a bundle as JSON."""
    file = path / "manifest.json"
    values = json.loads(file.read_text(encoding="utf-8"))
    change(values)
    file.write_text(json.dumps(values), encoding="utf-8")


def replace_in_manifest(path: Path, old: str, new: str) -> None:
    """Change the manifest of a bundle as text, in the one place where `old` stands."""
    file = path / "manifest.json"
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")


def names_in(path: Path) -> list[str]:
    """What lies in a folder, sorted."""
    return sorted(entry.name for entry in path.iterdir())
