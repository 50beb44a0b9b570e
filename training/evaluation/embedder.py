"""Encode texts with a bundle's graph, through any of its adapters or through none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper
from tokenizers import Tokenizer
from tqdm import tqdm

from models.bundle import Bundle

Vectors = NDArray[np.float32]  # (n, dim), unit rows

_BATCH_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Embedder:
    """A bundle's encoder for evaluation: batches sorted by length, texts cut at the limit."""

    bundle: Bundle
    tokenizer: Tokenizer
    session: Any
    # The same graph with every adapter's up-projection at zero, which is the plain backbone.
    plain_session: Any

    @classmethod
    def open(cls, path: Path, threads: int | None = None) -> Embedder:
        """Open the bundle at `path`; no `threads` means all cores. Raises BundleError."""
        bundle = Bundle.open(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0  # the runtime's word for all
        tokenizer = Tokenizer.from_file(str(bundle.file(bundle.manifest.tokenizer.file)))
        graph = onnx.load(str(bundle.graph()))
        session = _session(graph, options)
        return cls(bundle, tokenizer, session, _session(without_adapters(graph), options))

    def embed(self, texts: Sequence[str], adapter: str | None) -> Vectors:
        """Unit vectors of `texts` through the adapter so named, or through the plain backbone.

        Without an adapter, texts are cut at the longest length that any adapter allows.
        """
        manifest = self.bundle.manifest
        if adapter is None:
            session, row = self.plain_session, 0
            max_tokens = max(each.max_tokens for each in manifest.adapters)
        else:
            chosen = manifest.adapter(adapter)
            session, row, max_tokens = self.session, chosen.row, chosen.max_tokens
        self.tokenizer.enable_truncation(max_tokens)
        unique = list(dict.fromkeys(texts))
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch_fast(unique)]
        order = sorted(range(len(ids)), key=lambda index: -len(ids[index]))
        vectors = np.empty((len(unique), manifest.dimension), dtype=np.float32)
        label = adapter or "none"
        progress = tqdm(total=len(order), desc=label, unit="text", leave=False, disable=None)
        while order:
            size = max(1, _BATCH_TOKENS // len(ids[order[0]]))
            batch, order = order[:size], order[size:]
            vectors[batch] = self._run(session, [ids[index] for index in batch], row)
            progress.update(len(batch))
        progress.close()
        place = {text: index for index, text in enumerate(unique)}
        return vectors[[place[text] for text in texts]]

    def _run(self, session: Any, rows: Sequence[Sequence[int]], adapter_row: int) -> Vectors:  # noqa: ANN401
        width = max(map(len, rows))
        ids = np.full((len(rows), width), self.bundle.manifest.tokenizer.pad_token_id, np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        adapter_ids = np.full(len(rows), adapter_row, np.int64)
        feed = {"input_ids": ids, "attention_mask": mask, "adapter_ids": adapter_ids}
        (vectors,) = session.run(["embedding"], feed)
        result: Vectors = vectors
        return result


def without_adapters(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of an exported graph whose adapters add nothing: their up-projections are zero.

    Raises ValueError where the graph has no adapters.
    """
    plain = onnx.ModelProto()
    plain.CopyFrom(graph)
    # Up-projections are found by the use of their weights: `export` names them so.
    found = [tensor for tensor in plain.graph.initializer if ".adapter_up." in tensor.name]
    if not found:
        raise ValueError("the graph holds no stacked adapters")
    for tensor in found:
        zero = np.zeros_like(numpy_helper.to_array(tensor))
        tensor.CopyFrom(numpy_helper.from_array(zero, tensor.name))
    return plain


def _session(graph: onnx.ModelProto, options: Any) -> Any:  # noqa: ANN401
    return onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
