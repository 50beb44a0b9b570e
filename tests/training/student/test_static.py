import numpy as np
import torch

from training.student.static import bags
from training.student.tokens import TokenizedCorpus


def test_bags_are_the_rows_tokens_cut(tokens: TokenizedCorpus) -> None:
    rows = np.array([5, 0, 17, 5])
    ids, starts = bags(tokens, rows, 3)
    ends = [*starts[1:], len(ids)]
    for row, start, end in zip(rows, starts, ends, strict=True):
        assert ids[start:end].tolist() == tokens.row(row).tolist()[:3]
    assert ids.dtype == np.int64
    assert torch.from_numpy(ids).dtype is torch.int64
