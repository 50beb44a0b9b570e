"""A library behind a plain FastAPI: POST /embed {"inputs": [text]} → {"embeddings": [[number]]}.

    python plain.py LIBRARY FOLDER PORT     LIBRARY: fastembed, sentence-transformers-onnx or -torch

What one writes in ten minutes to serve an embedding library, with the quickest parts that such a
page names: uvicorn with uvloop and httptools, handlers in threads, orjson writing the arrays.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import orjson
import uvicorn
from fastapi import FastAPI, Response
from pydantic import BaseModel

Embed = Callable[[list[str]], Any]


class Texts(BaseModel):
    """The body of a request."""

    inputs: list[str]


def main() -> None:
    """Serve until a signal."""
    library, folder, port = sys.argv[1:]
    uvicorn.run(create_app(LIBRARIES[library](folder)), port=int(port), log_level="warning")


def create_app(embed: Embed) -> FastAPI:
    """One route over `embed`: texts → vectors, (texts, dimension) or a list of them."""
    app = FastAPI()

    @app.post("/embed")
    def answer(body: Texts) -> Response:
        vectors = {"embeddings": embed(body.inputs)}
        return Response(
            orjson.dumps(vectors, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json"
        )

    return app


def _fastembed(folder: str) -> Embed:
    from fastembed import TextEmbedding

    model = TextEmbedding("sentence-transformers/all-MiniLM-L6-v2", specific_model_path=folder)
    return lambda texts: list(model.embed(texts))


def _sentence_transformers_onnx(folder: str) -> Embed:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(
        folder, backend="onnx", model_kwargs={"provider": "CPUExecutionProvider"}
    )
    return lambda texts: model.encode(texts, normalize_embeddings=True, show_progress_bar=False)


def _sentence_transformers_torch(folder: str) -> Embed:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device="cpu")
    return lambda texts: model.encode(texts, normalize_embeddings=True, show_progress_bar=False)


# Imported by name, so that each environment needs its own library only.
LIBRARIES: dict[str, Callable[[str], Embed]] = {
    "fastembed": _fastembed,
    "sentence-transformers-onnx": _sentence_transformers_onnx,
    "sentence-transformers-torch": _sentence_transformers_torch,
}

if __name__ == "__main__":
    main()
