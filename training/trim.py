"""Trim a bundle: cut its vocabulary to what chosen languages use, and measure what that costs.

The walk: count the tokens of the languages' texts (`_read`), choose which to keep
(`trimming.choice`), cut the tokenizer (`trimming.tokenizer`) and the graph's table of embeddings
(`trimming.graph`), compare both bundles on texts that were not counted (`trimming.cost`), write.
Nothing else of the graph changes: a text whose tokens are all kept has the vector that it had.
"""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.external_data_helper import ExternalDataInfo, uses_external_data
from tokenizers import Tokenizer
from tqdm import tqdm

from models.bundle import (
    MANIFEST_NAME,
    TEXT_GRANULARITIES,
    Bundle,
    Granularity,
    Manifest,
    TokenLayer,
    sha256_of,
    write,
)
from models.precision import Precision
from training.corpora.table import read_report, read_table
from training.errors import TrainingError
from training.trimming.choice import Choice, TokenCounts, choose
from training.trimming.cost import Encoder, LanguageCost, Text, as_markdown, measure
from training.trimming.graph import cut_tables, find_tables
from training.trimming.tokenizer import Characters, Cut, Vocabulary, cut

# One alignment id of this many is held out of the counts; texts of those ids are what is compared.
_HELD_ONE_IN = 50
_BATCH_TEXTS = 1000


@dataclass(frozen=True, slots=True)
class TrimOptions:
    """What to keep; `vocabulary_size`, where given, takes the place of `coverage`."""

    languages: tuple[str, ...]
    coverage: float = 1.0  # of each language's token occurrences
    vocabulary_size: int | None = None
    characters: Characters = Characters.NEEDED
    # Texts to compare of each language and granularity.
    sample: int = 50
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What a trim did."""

    bytes_before: int
    bytes_after: int
    tokens_before: int
    tokens_after: int
    kept: dict[str, int]  # tokens by the reason why they are kept
    coverage: dict[str, float]  # by language: the share of its token occurrences that are kept
    costs: tuple[LanguageCost, ...]


def trim(
    parent_path: Path, table: Path, out: Path, name: str, version: str, options: TrimOptions
) -> Trimmed:
    """Write to `out` the bundle at `parent_path` with the vocabulary that `options` ask for.

    `table` is a corpus table whose texts tell what the languages use. Raises TrainingError where
    a language is not the parent's or has no text, or the tokenizer or graph cannot be cut, and
    FileExistsError where `out` exists.
    """
    if out.exists():
        raise FileExistsError(f"{out} exists; a bundle is never changed: choose another folder")
    parent = Bundle.open(parent_path)
    manifest = parent.manifest
    if unknown := [each for each in options.languages if each not in manifest.languages]:
        raise TrainingError(
            f"{parent_path} has no language {', '.join(unknown)}; choose from "
            f"{', '.join(manifest.languages)}"
        )
    tokenizer_json = parent.file(manifest.tokenizer.file).read_text(encoding="utf-8")
    vocabulary = Vocabulary.read(tokenizer_json, manifest.tokenizer.pad_token_id)
    counts, sample = _read(table, tokenizer_json, vocabulary.size, manifest, options)
    choice = choose(
        vocabulary, counts, options.characters, options.coverage, options.vocabulary_size
    )
    smaller = cut(vocabulary, choice.why)
    # Of float32 alone: what was calibrated and measured on the parent is not so for the child.
    compared = manifest.graphs[Precision.FLOAT32]
    graphs = {compared: _cut_graph(parent.file(compared), vocabulary, smaller)}
    tokenizer = manifest.tokenizer.model_copy(
        update={"pad_token_id": smaller.new_ids[vocabulary.padding]}
    )
    child = manifest.model_copy(update={"tokenizer": tokenizer})
    costs = measure(
        Encoder.open(manifest, tokenizer_json, str(parent.file(compared)), options.threads),
        Encoder.open(child, smaller.tokenizer_json, graphs[compared], options.threads),
        smaller.old_ids,
        sample,
        options.languages,
    )
    coverage = dict(zip(options.languages, choice.coverage, strict=True))
    provenance = _provenance(parent, table, options, vocabulary.size, choice, costs)
    values = child.model_dump(mode="json", exclude={"format_version", "files"}) | {
        "name": name,
        "version": version,
        "vocabulary_size": len(smaller.old_ids),
        "languages": options.languages,
        "graphs": {Precision.FLOAT32: compared},
        "fidelity": {},
        "scores": {},  # the parent's were measured on the parent
        "token_layer": _token_layer(manifest),
        "provenance": provenance,
    }
    card = _card(parent, values, costs)
    files: dict[str, Path | bytes] = {
        file: parent.file(file)
        for file in set(manifest.files) - _external_data(parent) - set(manifest.graphs.values())
    }
    files |= {**graphs, manifest.tokenizer.file: smaller.tokenizer_json.encode()}
    files[manifest.model_card] = card.encode()
    written = write(out, values, files)
    return Trimmed(
        bytes_before=_bytes(manifest),
        bytes_after=_bytes(written.manifest),
        tokens_before=vocabulary.size,
        tokens_after=len(smaller.old_ids),
        kept=choice.counted(),
        coverage=coverage,
        costs=tuple(costs),
    )


def as_text(trimmed: Trimmed) -> str:
    """What a trim did, for a person to read."""
    kept = ", ".join(f"{count:,} {why}" for why, count in trimmed.kept.items() if count)
    coverage = ", ".join(f"{name} {100 * share:.3f} %" for name, share in trimmed.coverage.items())
    return (
        f"tokens {trimmed.tokens_before:,} → {trimmed.tokens_after:,} ({kept})\n"
        f"bytes {trimmed.bytes_before:,} → {trimmed.bytes_after:,} "
        f"({100 * trimmed.bytes_after / trimmed.bytes_before:.1f} %)\n"
        f"token occurrences kept: {coverage}\n\n{as_markdown(trimmed.costs)}"
    )


class _Sample:
    """Of each language and granularity the texts with the smallest marks: a uniform sample."""

    def __init__(self, languages: Sequence[str], size: int) -> None:
        self._size = size
        self._heaps: dict[tuple[str, str], list[tuple[int, str]]] = {
            (language, str(granularity)): []
            for language in languages
            for granularity in TEXT_GRANULARITIES
        }

    def add(self, language: str, granularity: str, text: str) -> None:
        heap = self._heaps[language, granularity]
        entry = (-zlib.crc32(text.encode()), text)
        if entry in heap:
            return
        if len(heap) < self._size:
            heapq.heappush(heap, entry)
        else:
            heapq.heappushpop(heap, entry)

    def texts(self) -> dict[str, list[Text]]:
        found: dict[str, list[Text]] = {}
        for (language, granularity), heap in self._heaps.items():
            texts = [Text(Granularity(granularity), text) for _, text in sorted(heap)]
            found.setdefault(language, []).extend(texts)
        return found


def _read(
    table: Path, tokenizer_json: str, size: int, manifest: Manifest, options: TrimOptions
) -> tuple[TokenCounts, dict[str, list[Text]]]:
    """How often each chosen language uses each token, and texts of all the bundle's languages
    that were held out of that count."""
    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    counts = np.zeros((len(options.languages), size), dtype=np.int64)
    rows = {language: counts[place] for place, language in enumerate(options.languages)}
    waiting: dict[str, list[str]] = {language: [] for language in options.languages}
    sample = _Sample(manifest.languages, options.sample)

    def count(language: str) -> None:
        encodings = tokenizer.encode_batch_fast(waiting[language])
        used = [token_id for encoding in encodings for token_id in encoding.ids]
        rows[language][:] += np.bincount(np.array(used, np.int64), minlength=size)
        waiting[language].clear()

    with tqdm(desc="counting", unit=" texts", unit_scale=True, mininterval=0.5) as progress:
        for entity in read_table(table, languages=manifest.languages):
            held = zlib.crc32(entity.alignment_id.encode()) % _HELD_ONE_IN == 0
            for row in entity.rows:
                if held:
                    sample.add(row.language, row.granularity, row.text)
                elif row.language in waiting:
                    waiting[row.language].append(row.text)
                    if len(waiting[row.language]) == _BATCH_TEXTS:
                        count(row.language)
            progress.update(len(entity.rows))
    for language in options.languages:
        count(language)
        if not rows[language].any():
            raise TrainingError(f"{table} has no text in {language} to count")
    return counts, sample.texts()


def _cut_graph(file: Path, vocabulary: Vocabulary, smaller: Cut) -> bytes:
    model = onnx.load(str(file))
    tables = find_tables(model, vocabulary.size)
    moved = [old for old in vocabulary.special() if smaller.new_ids[old] != old]
    if tables.readers and moved:
        raise TrainingError(
            f"the graph computes with token ids ({', '.join(tables.readers)}), and the special "
            f"tokens {moved} would get other ids; keep more tokens than the largest of them"
        )
    cut_tables(model, tables, smaller.old_ids)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def _external_data(bundle: Bundle) -> set[str]:
    """Files beside the graphs that hold their weights; what is written holds them itself."""
    found = set()
    for file in bundle.manifest.graphs.values():
        for tensor in onnx.load(str(bundle.file(file)), load_external_data=False).graph.initializer:
            if uses_external_data(tensor):
                found.add(ExternalDataInfo(tensor).location)
    return found


def _provenance(
    parent: Bundle,
    table: Path,
    options: TrimOptions,
    tokens_before: int,
    choice: Choice,
    costs: Sequence[LanguageCost],
) -> dict[str, Any]:
    manifest = parent.manifest
    sources = read_report(table)["sources"]
    return {
        "trimmed_from": {
            "name": manifest.name,
            "version": manifest.version,
            # It lists every other file's.
            "manifest_sha256": sha256_of(parent.path / MANIFEST_NAME),
        },
        "languages": options.languages,
        "coverage_asked": options.coverage if options.vocabulary_size is None else None,
        "vocabulary_size_asked": options.vocabulary_size,
        "characters": options.characters,
        "corpus_rows": {name: counts["kept"] for name, counts in sources.items()},
        "tokens": {"before": tokens_before, "after": len(choice.why)},
        "kept": choice.counted(),
        "coverage": dict(zip(options.languages, choice.coverage, strict=True)),
        "cost": [asdict(each) for each in costs],
        "parent": manifest.provenance,
    }


def _token_layer(parent: Manifest) -> TokenLayer | None:
    """The parent's, without what was measured on the parent."""
    told = parent.token_layer
    return None if told is None else told.model_copy(update={"measured": None})


def _card(parent: Bundle, values: dict[str, Any], costs: Sequence[LanguageCost]) -> str:
    manifest, made = parent.manifest, values["provenance"]
    return f"""\
# {values["name"]} {values["version"]}

{manifest.name} {manifest.version} with its vocabulary cut from {made["tokens"]["before"]:,} to
{made["tokens"]["after"]:,} tokens, for {", ".join(values["languages"])}.
Nothing else was changed: a text whose tokens were all kept has the vector that it had.

On texts that were held out of the choice of tokens, against the parent:

{as_markdown(costs)}

The parent's model card, whose figures were measured on the parent:

---

{parent.file(manifest.model_card).read_text(encoding="utf-8")}"""


def _bytes(manifest: Manifest) -> int:
    return sum(record.bytes for record in manifest.files.values())
