"""Encode texts with a bundle's graph, through any of its adapters or through none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from tokenizers import Tokenizer
from tqdm import tqdm

from models.bundle import Bundle
from training.errors import TrainingError
from training.evaluation.encoder import Model
from training.evaluation.similarity import Vectors
from training.evaluation.word_links import word_means
from training.inference import open_session, run_batches


@dataclass(frozen=True, slots=True)
class Embedder:
    """A bundle's encoder for evaluation: batches sorted by length, texts cut at the limit."""

    bundle: Bundle
    tokenizer: Tokenizer
    session: Any
    # The same graph with every adapter's up-projection at zero, which is the plain backbone; None
    # where it was not asked for.
    plain_session: Any

    @classmethod
    def open(cls, path: Path, threads: int | None = None, plain: bool = True) -> Embedder:
        """Open the bundle at `path`; no `threads` means all cores. Raises BundleError, or
        TrainingError where a plain backbone is asked for and its adapters cannot be left out.

        Without `plain`, half the memory is taken and nothing goes through the plain backbone.
        """
        bundle = Bundle.open(path)
        tokenizer = Tokenizer.from_file(str(bundle.file(bundle.manifest.tokenizer.file)))
        tokenizer.no_padding()
        graph = onnx.load(str(bundle.graph()))
        session = open_session(graph.SerializeToString(), threads)
        if not plain:
            return cls(bundle, tokenizer, session, None)
        plain_graph = without_adapters(graph).SerializeToString()
        return cls(bundle, tokenizer, session, open_session(plain_graph, threads))

    @property
    def model(self) -> Model:
        """What the bundle's manifest says."""
        manifest = self.bundle.manifest
        return Model(
            name=manifest.name,
            version=manifest.version,
            dimension=manifest.dimension,
            adapters={adapter.name: adapter.granularity for adapter in manifest.adapters},
            routing=manifest.routing,
            has_plain=self.plain_session is not None,
            has_tokens=True,
        )

    def embed(self, texts: Sequence[str], adapter: str | None) -> Vectors:
        """Unit vectors of `texts` through the adapter so named, or through the plain backbone.

        Without an adapter, texts are cut at the longest length that any adapter allows.
        """
        self.tokenizer.enable_truncation(self._max_tokens(adapter))
        unique = list(dict.fromkeys(texts))
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch_fast(unique)]
        vectors = np.empty((len(unique), self.bundle.manifest.dimension), dtype=np.float32)
        for batch, embeddings in self._batches(ids, adapter, "embedding"):
            vectors[batch] = embeddings
        place = {text: index for index, text in enumerate(unique)}
        return vectors[[place[text] for text in texts]]

    def embed_words(self, sentences: Sequence[Sequence[str]], adapter: str | None) -> list[Vectors]:
        """For each sentence the mean of each word's sub-word states, zero for a word that the
        tokenizer drops or the adapter's limit cuts off: (words, dim), not normalised."""
        self.tokenizer.enable_truncation(self._max_tokens(adapter))
        encodings = self.tokenizer.encode_batch(
            [list(sentence) for sentence in sentences], is_pretokenized=True
        )
        dimension = self.bundle.manifest.dimension
        result: list[Vectors] = [np.empty((0, dimension), np.float32)] * len(sentences)
        ids = [encoding.ids for encoding in encodings]
        for batch, states in self._batches(ids, adapter, "tokens"):
            for index, row in zip(batch, states, strict=True):
                result[index] = word_means(row, encodings[index].word_ids, len(sentences[index]))
        return result

    def _max_tokens(self, adapter: str | None) -> int:
        manifest = self.bundle.manifest
        if adapter is None:
            return max(each.max_tokens for each in manifest.adapters)
        return manifest.adapter(adapter).max_tokens

    def _batches(
        self, ids: Sequence[Sequence[int]], adapter: str | None, output: str
    ) -> Iterator[tuple[list[int], Vectors]]:
        """Places of texts of like length, and what the graph gives for them."""
        if adapter is None and self.plain_session is None:
            raise ValueError("opened without the plain backbone; use Embedder.open(…, plain=True)")
        session = self.plain_session if adapter is None else self.session
        manifest = self.bundle.manifest
        row = 0 if adapter is None else manifest.adapter(adapter).row
        pad = manifest.tokenizer.pad_token_id
        label = adapter or "none"
        with tqdm(total=len(ids), desc=label, unit="text", leave=False, disable=None) as progress:
            for batch, values in run_batches(session, output, ids, [row] * len(ids), pad):
                yield batch, values
                progress.update(len(batch))


def without_adapters(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of an exported graph whose adapters add nothing: their up-projections are zero.

    Raises TrainingError where the graph has no adapters of the kind that `export` writes.
    """
    plain = onnx.ModelProto()
    plain.CopyFrom(graph)
    # Up-projections are found by the use of their weights: `export` names them so.
    found = [tensor for tensor in plain.graph.initializer if ".adapter_up." in tensor.name]
    if not found:
        raise TrainingError(
            "the graph holds no stacked adapters that could be left out; "
            "name those to measure by --adapters, without none"
        )
    for tensor in found:
        zero = np.zeros_like(numpy_helper.to_array(tensor))
        tensor.CopyFrom(numpy_helper.from_array(zero, tensor.name))
    return plain
