"""infinity-emb's own command line, with one repair.

    python infinity.py v2 --engine optimum --model-id FOLDER ...

infinity-emb 0.0.78 looks for the ONNX file of a local folder and then passes the file's whole path
on where its name is wanted, so that the optimum engine cannot open a folder at all. Here the search
gives the name. Nothing else is changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from infinity_emb.cli import cli
from infinity_emb.transformer.embedder import optimum

_find = optimum.get_onnx_files


def _by_name(**arguments: Any) -> Path:  # noqa: ANN401 - handed on as they come
    return Path(_find(**arguments).name)


if __name__ == "__main__":
    optimum.get_onnx_files = _by_name
    cli()
