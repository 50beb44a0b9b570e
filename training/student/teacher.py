"""The teacher's vectors of every English text of a corpus table, computed once and kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

from training.backbone import Backbone, masked_mean
from training.batching import of_like_length
from training.corpora.tsv import ANCHOR
from training.errors import TrainingError
from training.files import replace, save_array
from training.student.tokens import IntVector

_CHUNK_TOKENS = 4096
_SAVE_EVERY_TOKENS = 1_000_000


@dataclass(frozen=True, slots=True)
class TeacherVectors:
    """Unit vectors, float16 (English rows, dim), and the place of each table row among them."""

    vectors: np.ndarray[tuple[int, int], np.dtype[np.float16]]
    place: IntVector  # (table rows,), -1 where the row is not English

    @classmethod
    def open(cls, folder: Path) -> TeacherVectors:
        """Map what `embed_english` wrote."""
        rows = np.load(folder / "english_rows.npy")
        place = np.full(int(rows.max()) + 1, -1, np.int64)
        place[rows] = np.arange(len(rows))
        return cls(np.load(folder / "teacher.npy", mmap_mode="r"), place)

    def of(self, table_rows: IntVector) -> Tensor:
        """float32 (rows, dim) of unit length."""
        picked = self.vectors[self.place[table_rows]].astype(np.float32)
        return normalize(torch.from_numpy(picked), dim=1)


def embed_english(
    table: Path,
    teacher: str,
    max_tokens: int,
    folder: Path,
    device: torch.device,
    bfloat16: bool = True,
) -> TeacherVectors:
    """Embed the English rows of `table` with `teacher` into `folder`; what is there is kept, and a
    cut run goes on where it was.

    Raises TrainingError where the teacher cannot be loaded or the table has no English.
    """
    if (folder / "teacher.npy").exists():
        return TeacherVectors.open(folder)
    folder.mkdir(parents=True, exist_ok=True)
    columns = pq.read_table(table, columns=["language", "text"])
    english = pc.equal(columns["language"], ANCHOR).to_numpy(zero_copy_only=False)
    rows: IntVector = np.flatnonzero(english).astype(np.int64)
    if not len(rows):
        raise TrainingError(f"{table} holds no English text, which the teacher needs")
    texts = columns["text"].take(rows).to_pylist()
    del columns
    replace(folder / "english_rows.npy", lambda path: save_array(path, rows))
    backbone = Backbone.open(teacher, half_weights=False)
    backbone.model.to(device)
    ids = backbone.tokenize(texts, max_tokens)
    lengths = np.array([len(each) for each in ids])
    order = np.argsort(lengths, kind="stable")
    part, progress = folder / "teacher.part.npy", folder / "teacher.progress"
    done = int(progress.read_text()) if progress.exists() and part.exists() else 0
    shape = (len(rows), backbone.dimension)
    mode = "r+" if done else "w+"
    held = np.lib.format.open_memmap(part, mode=mode, dtype=np.float16, shape=shape)
    unsaved = 0
    with (
        torch.inference_mode(),
        torch.autocast(device.type, torch.bfloat16, enabled=bfloat16),
        tqdm(total=int(lengths.sum()), unit="token", desc="teacher", unit_scale=True) as bar,
    ):
        bar.update(int(lengths[order[:done]].sum()))
        for take in of_like_length(order[done:].tolist(), lengths.tolist(), _CHUNK_TOKENS):
            padded = backbone.pad([ids[index] for index in take])
            tokens, mask = (each.to(device) for each in padded)
            states = backbone.model(input_ids=tokens, attention_mask=mask).last_hidden_state
            vectors = normalize(masked_mean(states.float(), mask), dim=1)
            held[take] = vectors.half().cpu().numpy()
            done += len(take)
            count = int(lengths[take].sum())
            unsaved += count
            bar.update(count)
            if unsaved > _SAVE_EVERY_TOKENS:
                held.flush()
                replace(progress, partial(Path.write_text, data=str(done)))
                unsaved = 0
    held.flush()
    del held
    part.rename(folder / "teacher.npy")
    progress.unlink(missing_ok=True)
    return TeacherVectors.open(folder)
