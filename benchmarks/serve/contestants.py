"""Who is measured: how each server is started, asked and read."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.serve.environments import PEERS, python_of

Vectors = NDArray[np.float32]

LARGE_REQUEST_TEXTS = 10_000


class Encoding(StrEnum):
    """How vectors come back."""

    FLOAT = "float"
    BASE64 = "base64"


@dataclass(frozen=True, slots=True)
class Dialect:
    """A server's way of taking texts and giving vectors."""

    path: str
    body: Callable[[Sequence[str], Encoding], dict[str, Any]]
    # The list of vectors in a parsed answer.
    vectors: Callable[[Any], list[Any]]
    encodings: tuple[Encoding, ...]

    def request(self, texts: Sequence[str], encoding: Encoding) -> bytes:
        """The bytes of one HTTP/1.1 request that embeds `texts`."""
        body = json.dumps(self.body(texts, encoding), ensure_ascii=False).encode()
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def read(self, answer: bytes) -> Vectors:
        """The unit vectors, (texts, dimension), of an answer's body in either encoding."""
        rows = [
            np.frombuffer(base64.b64decode(one), "<f4") if isinstance(one, str) else one
            for one in self.vectors(json.loads(answer))
        ]
        return np.array(rows, np.float32)


def _of_data(answer: Any) -> list[Any]:  # noqa: ANN401 - parsed JSON
    return [item["embedding"] for item in answer["data"]]


# Ours reads a long text in windows unless told to cut it, as the others do.
POLYGRAIN = Dialect(
    "/embed",
    lambda texts, encoding: {
        "inputs": list(texts),
        "encoding": str(encoding),
        "long_text": "truncate",
    },
    _of_data,
    (Encoding.FLOAT, Encoding.BASE64),
)
INFINITY = Dialect(
    "/embeddings",
    lambda texts, encoding: {
        "model": "model",
        "input": list(texts),
        "encoding_format": str(encoding),
    },
    _of_data,
    (Encoding.FLOAT, Encoding.BASE64),
)
PLAIN = Dialect(
    "/embed",
    lambda texts, encoding: {"inputs": list(texts)},
    lambda answer: list(answer["embeddings"]),
    (Encoding.FLOAT,),
)


@dataclass(frozen=True, slots=True)
class Contestant:
    """A server, and the command that starts it; `{port}` in it stands for the port."""

    name: str
    dialect: Dialect
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    is_peer: bool = True


def polygrain(bundle: Path, name: str, environment: Mapping[str, str]) -> Contestant:
    """Our server over `bundle`, with settings from `environment`."""
    run = "from service.cli import main; main()"
    return Contestant(
        name,
        POLYGRAIN,
        (
            *(sys.executable, "-c", run, "serve", "--port", "{port}", "--bundle", str(bundle)),
            *("--log-level", "warning"),
        ),
        # For the request of many texts beside single ones.
        {"POLYGRAIN_MAX_ITEMS": str(LARGE_REQUEST_TEXTS), **environment},
        is_peer=False,
    )


def peers(into: Path, names: Sequence[str]) -> list[Contestant]:
    """The peers of these names, set up under `into`; ValueError for one that is not there."""
    table = _peers(into.resolve())
    for name in names:
        if name not in table:
            raise ValueError(f"{name!r} is no peer; choose from {', '.join(table)}")
        if not Path(table[name].command[0]).exists():
            raise ValueError(
                f"{name} is not set up in {into}; run python -m benchmarks.serve setup first"
            )
    return [table[name] for name in names]


PEER_NAMES = (
    "infinity-torch",
    "infinity-optimum",
    "fastembed",
    "sentence-transformers-onnx",
    "sentence-transformers-torch",
)


def _peers(into: Path) -> dict[str, Contestant]:
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(into / "cache"), "DO_NOT_TRACK": "1"}
    found = [
        Contestant(
            f"infinity-{engine}",
            INFINITY,
            (
                *(str(python_of(into, "infinity")), str(PEERS / "infinity.py"), "v2"),
                *("--engine", engine, "--model-id", str(into / "weights" / weights)),
                *("--served-model-name", "model", "--port", "{port}", "--host", "127.0.0.1"),
                *("--pooling-method", "mean", "--no-bettertransformer", "--no-model-warmup"),
                *("--device", "cpu", "--log-level", "warning"),
            ),
            {
                **offline,
                "INFINITY_ANONYMOUS_USAGE_STATS": "0",
                "INFINITY_MAX_CLIENT_BATCH_SIZE": str(LARGE_REQUEST_TEXTS),
            },
        )
        for engine, weights in (("torch", "torch"), ("optimum", "onnx"))
    ]
    found += [
        Contestant(
            name,
            PLAIN,
            (
                *(str(python_of(into, environment)), str(PEERS / "plain.py")),
                *(name, str(into / "weights" / weights), "{port}"),
            ),
            offline,
        )
        for name, environment, weights in (
            ("fastembed", "fastembed", "onnx"),
            ("sentence-transformers-onnx", "sentence-transformers", "onnx"),
            ("sentence-transformers-torch", "sentence-transformers", "torch"),
        )
    ]
    return {one.name: one for one in found}
