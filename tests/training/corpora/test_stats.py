from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib.image import imread

from training.corpora import stats as module
from training.corpora.build import BuildOptions, build
from training.corpora.rows import Row
from training.corpora.stats import QUANTILES, as_json, as_text, measure, plot


def _quantile(values: list[int], share: float) -> float:
    """By hand: the value at `share` of the way through the sorted values, interpolated."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stats")
    draw = random.Random(1)
    rows = [
        Row(f"id{n}", f"s{n % 3}", "CC0", kind, language, f"{language}{n} " + "字w"[n % 2] * size)
        for n in range(400)
        for kind in ("phrase", "sentence")[: 1 + n % 2]
        for language in ("en", "de", "ja")
        for size in [draw.randint(3, 40)]
    ]
    pq.write_table(pa.Table.from_pylist([row._asdict() for row in rows]), folder / "o.parquet")
    build([folder / "o.parquet"], folder / "c.parquet", BuildOptions(None))
    return folder / "c.parquet"


@pytest.mark.parametrize("batch_rows", [7, 65_536])
def test_counts_and_quantiles_are_those_of_a_count_by_hand(
    table: Path, batch_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = pq.ParquetFile.iter_batches
    monkeypatch.setattr(
        pq.ParquetFile,
        "iter_batches",
        lambda self, columns: read(self, batch_rows, columns=columns),
    )
    stats = measure(table)
    lengths: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
    rows = pq.read_table(table).to_pylist()
    for row in rows:
        lengths[row["language"], row["granularity"], row["source"]].append(len(row["text"]))
    assert {(c.language, c.granularity, c.source): c.rows for c in stats.cells} == {
        key: len(values) for key, values in lengths.items()
    }
    for cell in stats.cells:
        values = lengths[cell.language, cell.granularity, cell.source]
        assert cell.lengths == pytest.approx([_quantile(values, share) for share in QUANTILES])
    assert stats.alignment_ids == len({row["alignment_id"] for row in rows})
    by_language = Counter((row["language"],) for row in rows)
    assert stats.rows_by("language") == by_language


def test_text_and_json_say_the_same(table: Path) -> None:
    stats = measure(table)
    text = as_text(stats, top=2)
    total = pq.read_metadata(table).num_rows
    assert text.startswith(f"{total:,} rows under {stats.alignment_ids:,} ids\n")
    assert "(1 more)" in text
    [line] = [line for line in text.splitlines() if line.startswith("en ")]
    counts = stats.rows_by("language", "granularity")
    phrases, sentences = counts["en", "phrase"], counts["en", "sentence"]
    assert line.split() == ["en", str(phrases), str(sentences), "0", str(phrases + sentences)]
    values = json.loads(json.dumps(as_json(stats)))
    assert values["rows"] == total
    assert sum(cell["rows"] for cell in values["cells"]) == total
    assert values["build"] == stats.report
    read = sum(source["read"] for source in values["build"]["sources"].values())
    assert read == total + sum(values["dropped"].values())
    assert sum(values["dropped"].values()) > 0


def test_plots_are_pictures_with_something_in_them(table: Path, tmp_path: Path) -> None:
    files = plot(measure(table), tmp_path / "plots")
    assert [file.name for file in files] == [
        "rows_by_language.png",
        "rows_by_source.png",
        "lengths.png",
        "dropped.png",
    ]
    for file in files:
        picture = imread(file)
        assert min(picture.shape[:2]) > 100
        assert picture.std() > 0.02


def test_bars_are_as_long_as_the_counts(table: Path) -> None:
    stats = measure(table)
    [axes] = module._plot_rows(stats, "language").axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    ends: Counter[str] = Counter()
    for patch in axes.patches:
        name = names[round(patch.get_y() + patch.get_height() / 2)]  # type: ignore[attr-defined]
        # Stacked: the last part of a bar ends at the sum of all.
        end = patch.get_x() + patch.get_width()  # type: ignore[attr-defined]
        ends[name] = max(ends[name], end)
    assert ends == {name: count for (name,), count in stats.rows_by("language").items()}
