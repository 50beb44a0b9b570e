"""Encode texts through a running service: POST /embed, every text with its adapter named."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from tqdm import tqdm

from models.bundle import TEXT_GRANULARITIES, Granularity
from training.errors import TrainingError
from training.evaluation.encoder import Model
from training.evaluation.similarity import Vectors

TIMEOUT_S = 300
# A request's size: the service splits it into batches of its own, and queues by tokens.
_MAX_ITEMS = 256
_MAX_CHARACTERS = 100_000
_MAX_TRIES = 20


@dataclass(frozen=True, slots=True)
class ServiceEncoder:
    """A service's encoder for evaluation. A service has no way round its adapters, and gives no
    states of tokens."""

    url: str
    model: Model
    max_items: int
    sleep: Callable[[float], None] = time.sleep

    @classmethod
    def open(cls, url: str, sleep: Callable[[float], None] = time.sleep) -> ServiceEncoder:
        """Ask the service at `url` what it serves.

        Raises TrainingError where nothing answers there, or not as a Polygrain service does.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise TrainingError(f"--url is {url!r}; give one like http://127.0.0.1:8080")
        info = _call(url, "GET", "/info", None, sleep)
        try:
            adapters = {each["name"]: Granularity(each["granularity"]) for each in info["adapters"]}
            model = Model(
                name=str(info["name"]),
                version=str(info["version"]),
                dimension=int(info["dimensions"]),
                adapters=adapters,
                routing={each: str(info["routing"][each]) for each in TEXT_GRANULARITIES},
                has_plain=False,
                has_tokens=False,
            )
            max_items = min(_MAX_ITEMS, int(info["limits"]["max_items"]))
        except (KeyError, TypeError, ValueError) as error:
            raise TrainingError(
                f"{url}/info is not what a Polygrain service answers: {error!r}"
            ) from None
        return cls(url, model, max_items, sleep)

    def embed(self, texts: Sequence[str], adapter: str | None) -> Vectors:
        """Unit vectors of `texts` through the adapter so named: (n, dim).

        Longer texts than the adapter takes are cut, as with a bundle. Raises TrainingError where
        the service refuses, fails or serves another model than when it was opened.
        """
        if adapter is None:
            raise ValueError("a service cannot leave its adapters out")
        unique = sorted(set(texts), key=lambda text: (-len(text), text))
        vectors = np.empty((len(unique), self.model.dimension), dtype=np.float32)
        with tqdm(
            total=len(unique), desc=adapter, unit="text", leave=False, disable=None
        ) as progress:
            for block in _requests(unique, self.max_items):
                vectors[block] = self._embed(unique[block], adapter)
                progress.update(block.stop - block.start)
        place = {text: index for index, text in enumerate(unique)}
        return vectors[[place[text] for text in texts]]

    def embed_words(self, sentences: Sequence[Sequence[str]], adapter: str | None) -> list[Vectors]:
        """Never: a service gives no states of tokens."""
        raise ValueError("a service gives no states of tokens")

    def _embed(self, texts: list[str], adapter: str) -> Vectors:
        body = {
            "inputs": texts,
            "adapter": adapter,
            "long_text": "truncate",
            "encoding": "base64",
        }
        answer = _call(self.url, "POST", "/embed", body, self.sleep)
        try:
            model, data = answer["model"], answer["data"]
            rows = [np.frombuffer(base64.b64decode(item["embedding"]), "<f4") for item in data]
        except (KeyError, TypeError, ValueError) as error:
            raise TrainingError(
                f"{self.url}/embed is not what a Polygrain service answers: {error!r}"
            ) from None
        if model != self.model.name:
            raise TrainingError(
                f"{self.url} now serves {model!r} and not {self.model.name!r}; start again"
            )
        if len(rows) != len(texts) or any(len(row) != self.model.dimension for row in rows):
            raise TrainingError(
                f"{self.url}/embed answered {len(rows)} vectors for {len(texts)} texts, or not of "
                f"{self.model.dimension} dimensions"
            )
        return np.stack(rows).astype(np.float32)


def _requests(texts: Sequence[str], max_items: int) -> Iterator[slice]:
    start = 0
    while start < len(texts):
        stop, characters = start, 0
        while stop < len(texts) and stop - start < max_items:
            characters += len(texts[stop])
            if stop > start and characters > _MAX_CHARACTERS:
                break
            stop += 1
        yield slice(start, stop)
        start = stop


def _call(
    url: str, method: str, path: str, body: object, sleep: Callable[[float], None]
) -> dict[str, Any]:
    """The JSON object that the service answers. While it is full or starting, asks again when it
    says so."""
    for _ in range(_MAX_TRIES):
        status, headers, content = _exchange(url, method, path, body)
        if status not in (429, 503):
            break
        sleep(_wait_s(headers.get("retry-after", "")))
    try:
        answer = json.loads(content)
    except ValueError:
        answer = None
    if status == 200 and isinstance(answer, dict):
        return answer
    error = answer.get("error") if isinstance(answer, dict) else None
    reason = error.get("message") if isinstance(error, dict) else "no JSON of a Polygrain service"
    raise TrainingError(f"{url.rstrip('/')}{path} answered {status}: {reason}")


def _exchange(url: str, method: str, path: str, body: object) -> tuple[int, dict[str, str], bytes]:
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request(
            method,
            parts.path.rstrip("/") + path,
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return response.status, headers, response.read()
    except (OSError, HTTPException) as error:
        raise TrainingError(
            f"{url} does not answer ({error or type(error).__name__}); is the service running?"
        ) from None
    finally:
        connection.close()


def _wait_s(retry_after: str) -> float:
    try:
        return min(max(float(retry_after), 0.1), 60.0)
    except ValueError:
        return 1.0
