"""Other services' clients, as they are published, against a live service on a socket."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openai
import pytest
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from models.bundle import Bundle
from service.encoding.encoder import Encoder
from service.security.keys import Key, digest_of, make_secret
from service.settings import Settings
from tests.fakes import PATIENCE_S
from tests.service.live import serving
from tests.tiny_bundle import DIMENSION, expected_embedding, write_tiny_bundle

ROOT = Path(__file__).parents[2]
_BLOCKS = re.findall(
    r"^## (.+?)$\n+```python\n(.*?)```",
    (ROOT / "docs" / "clients.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)
_PRINTED = {
    "OpenAI": "2 polygrain-mini:sentence True\n",
    "huggingface_hub": "2 2\n",
    "LangChain": "2\n",
    "LlamaIndex": "2\n",
}
_SECRET = make_secret("reader")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny bundle under the name that the document uses, which may be cut."""
    path = tmp_path_factory.mktemp("bundles") / "mini"
    return write_tiny_bundle(path, name="polygrain-mini", dimensions=(3, DIMENSION))


@pytest.fixture(scope="module")
def url(bundle: Bundle) -> Iterator[str]:
    with serving(Encoder.open(bundle.path, threads=1), Settings()) as address:
        yield f"http://{address}"


@pytest.fixture(scope="module")
def guarded(bundle: Bundle) -> Iterator[str]:
    keys = Key("reader", frozenset(("read",)), digest_of(_SECRET), requests_per_minute=30)
    settings = Settings(keys=keys.entry())
    with serving(Encoder.open(bundle.path, threads=1), settings) as address:
        yield f"http://{address}"


@pytest.fixture(scope="module")
def printed(url: str) -> Iterator[dict[str, Future[subprocess.CompletedProcess[str]]]]:
    """What each block of the document prints; all run at once, since they are slow to import."""
    outer = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "OPENAI_"))}
    environment = {**outer, "LANGSMITH_TRACING": "false"}

    def run(program: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program.replace("http://127.0.0.1:8080", url)],
            capture_output=True,
            text=True,
            check=False,
            timeout=4 * PATIENCE_S,
            env=environment,
        )

    with ThreadPoolExecutor() as threads:
        yield {name: threads.submit(run, program) for name, program in _BLOCKS}


def test_the_document_shows_every_client() -> None:
    assert [name for name, _ in _BLOCKS] == list(_PRINTED)


@pytest.mark.parametrize("name", _PRINTED)
def test_a_block_of_the_document_runs(
    printed: dict[str, Future[subprocess.CompletedProcess[str]]], name: str
) -> None:
    result = printed[name].result()
    assert result.returncode == 0, result.stderr
    assert result.stdout == _PRINTED[name]


def _openai(url: str, key: str = "unused") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=PATIENCE_S)


def test_openai_gets_the_vectors_in_either_encoding(url: str) -> None:
    with _openai(url) as client:
        texts = ["the cat", "the dog sat."]
        name = "polygrain-mini:sentence"
        plain = client.embeddings.create(model=name, input=texts, encoding_format="float")
        packed = client.embeddings.create(model=name, input=texts)  # base64 by itself
        one = client.embeddings.create(model=name, input="the cat", dimensions=3)
    for text, first, second in zip(texts, plain.data, packed.data, strict=True):
        np.testing.assert_allclose(first.embedding, expected_embedding(text, "sentence"), atol=1e-5)
        np.testing.assert_allclose(second.embedding, first.embedding, atol=1e-7)
    assert [item.index for item in packed.data] == [0, 1]
    assert packed.usage.prompt_tokens == packed.usage.total_tokens == 10
    whole = expected_embedding("the cat", "sentence")
    cut = whole[:3] / np.linalg.norm(whole[:3])
    np.testing.assert_allclose(one.data[0].embedding, cut, atol=1e-5)


def test_openai_lists_the_models(url: str) -> None:
    with _openai(url) as client:
        names = [model.id for model in client.models.list()]
        assert names[:2] == ["polygrain-mini", "polygrain-mini:phrase"]
        assert client.models.retrieve("polygrain-mini:phrase").owned_by == "polygrain"


def test_openai_raises_its_own_errors(url: str, guarded: str) -> None:
    with _openai(url) as client:
        with pytest.raises(openai.BadRequestError, match="token numbers") as bad:
            client.embeddings.create(model="polygrain-mini", input=[[1, 2], [3]])
        assert bad.value.param == "input"
        with pytest.raises(openai.NotFoundError, match="use one of polygrain-mini") as missing:
            client.embeddings.create(model="text-embedding-3-small", input="a")
        assert missing.value.code == "model_not_found"
    with (
        _openai(guarded, make_secret("reader")) as stranger,
        pytest.raises(openai.AuthenticationError) as unknown,
    ):
        stranger.models.list()
    assert unknown.value.code == "invalid_api_key"
    with _openai(guarded, _SECRET) as client:
        assert client.embeddings.create(model="polygrain-mini", input="a").data
        limited: list[openai.RateLimitError] = []
        for _ in range(31):
            try:
                client.models.list()
            except openai.RateLimitError as error:
                limited.append(error)
    assert limited[0].code == "rate_limit_exceeded"
    assert int(limited[0].response.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("path", ["/tei", "/tei/embed"])
def test_huggingface_hub_extracts_features(url: str, path: str) -> None:
    client = InferenceClient(base_url=url + path)
    one = client.feature_extraction("the cat", prompt_name="sentence", normalize=True)
    np.testing.assert_allclose(one[0], expected_embedding("the cat", "sentence"), atol=1e-5)
    cut = client.feature_extraction("the cat", truncate=True, truncation_direction="Right")
    assert cut.shape == (1, DIMENSION)


def test_huggingface_hub_compares_sentences(url: str) -> None:
    for path in ("/tei", "/tei/similarity"):
        client = InferenceClient(base_url=url + path)
        scores = client.sentence_similarity("the cat.", other_sentences=["the cat.", "le chien."])
        assert len(scores) == 2
        assert scores[0] == pytest.approx(1.0, abs=1e-5)
        assert scores[1] < 0.999


def test_huggingface_hub_shows_what_is_wrong(url: str, guarded: str) -> None:
    with pytest.raises(HfHubHTTPError, match="prompt_name is 'query'"):
        InferenceClient(base_url=f"{url}/tei").feature_extraction("a", prompt_name="query")
    with pytest.raises(HfHubHTTPError, match="not known here"):
        InferenceClient(base_url=f"{guarded}/tei", token="x").feature_extraction("a")


def test_huggingface_hub_awaits_too(url: str) -> None:
    async def scenario() -> int:
        async with AsyncInferenceClient(base_url=f"{url}/tei") as client:
            return len(await client.feature_extraction(["the cat", "a dog"]))

    assert asyncio.run(scenario()) == 2
