"""Run a bundle's graph on tokenised texts, in batches of like length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnxruntime

from training.batching import of_like_length

# Padded tokens of one batch: bounds memory, changes results by rounding only.
_BATCH_TOKENS = 4096


def open_session(graph: bytes | str, threads: int | None) -> Any:  # noqa: ANN401
    """A session on the CPU for a graph's bytes or path; no `threads` means all cores."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0  # the runtime's word for all
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def run_batches(
    session: Any,  # noqa: ANN401
    output: str,
    rows: Sequence[Sequence[int]],
    adapter_rows: Sequence[int],
    pad_token_id: int,
) -> Iterator[tuple[list[int], Any]]:
    """Places of texts in `rows`, their token ids, and what `output` of the graph is for them.

    `adapter_rows` holds the row, in the graph's stacked adapters, of each text's own.
    """
    lengths = [len(row) for row in rows]
    order = sorted(range(len(rows)), key=lengths.__getitem__)
    for batch in of_like_length(order, lengths, _BATCH_TOKENS):
        shape = (len(batch), lengths[batch[-1]])
        ids = np.full(shape, pad_token_id, dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        for place, index in enumerate(batch):
            ids[place, : lengths[index]] = rows[index]
            mask[place, : lengths[index]] = 1
        adapter_ids = np.array([adapter_rows[index] for index in batch], dtype=np.int64)
        feed = {"input_ids": ids, "attention_mask": mask, "adapter_ids": adapter_ids}
        (values,) = session.run([output], feed)
        yield batch, values
