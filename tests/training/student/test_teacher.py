from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch.nn.functional import normalize

from training.backbone import Backbone, masked_mean
from training.student import teacher
from training.student.build import CPU
from training.student.teacher import embed_english


def test_every_english_row_has_the_teachers_vector(
    clean_table: Path, bert_folder: Path, tmp_path: Path
) -> None:
    vectors = embed_english(clean_table, str(bert_folder), 10, tmp_path, CPU, bfloat16=False)
    rows = pq.read_table(clean_table).to_pylist()
    english = [place for place, row in enumerate(rows) if row["language"] == "en"]
    backbone = Backbone.open(str(bert_folder), half_weights=False)
    for place in english[::17]:
        ids, mask = backbone.pad(backbone.tokenize([rows[place]["text"]], 10))
        with torch.no_grad():
            states = backbone.model(input_ids=ids, attention_mask=mask).last_hidden_state
        expected = normalize(masked_mean(states, mask), dim=1)
        torch.testing.assert_close(vectors.of(np.array([place])), expected, rtol=0, atol=1e-3)
    assert len(vectors.vectors) == len(english)


def test_a_cut_run_goes_on_where_it_was(
    clean_table: Path, bert_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher, "_CHUNK_TOKENS", 64)
    monkeypatch.setattr(teacher, "_SAVE_EVERY_TOKENS", 100)
    whole = embed_english(
        clean_table, str(bert_folder), 10, tmp_path / "whole", CPU, bfloat16=False
    )
    calls = 0

    def cut(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 9:
            raise KeyboardInterrupt
        return masked_mean(states, mask)

    monkeypatch.setattr(teacher, "masked_mean", cut)
    with pytest.raises(KeyboardInterrupt):
        embed_english(clean_table, str(bert_folder), 10, tmp_path / "cut", CPU, bfloat16=False)
    assert not (tmp_path / "cut" / "teacher.npy").exists()
    done = int((tmp_path / "cut" / "teacher.progress").read_text())
    assert 0 < done < len(whole.vectors)
    resumed = embed_english(
        clean_table, str(bert_folder), 10, tmp_path / "cut", CPU, bfloat16=False
    )
    np.testing.assert_array_equal(resumed.vectors, whole.vectors)
