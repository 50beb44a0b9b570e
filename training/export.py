"""Export a finished run to a bundle: one ONNX graph with all adapters, checked against torch."""

from __future__ import annotations

import json
import string
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from models.bundle import TEXT_GRANULARITIES, Granularity, Pooling, TokenLayer, write
from models.precision import Precision
from training import adapters
from training.backbone import Backbone, layer_states, masked_mean
from training.corpora.sampling import stream_pairs
from training.errors import TrainingError
from training.evaluation.comparable import comparable
from training.evaluation.scores import Scores
from training.evaluation.table import as_markdown
from training.half_weights import store_in_half
from training.parity import parity
from training.recipe import Recipe
from training.run import RUN_FILE, read_run
from training.token_layer import LAST, LayerWish, choose
from training.trainer import fingerprint, finished_adapter

OPSET = 18
PARITY_LIMIT = 1e-5
GRAPH_NAME = "encoder.onnx"
# Beside the graph, for what is too large to be read at every start: processes map it.
TABLES_NAME = "encoder.tables.bin"
_TABLE_MIN_BYTES = 16 << 20
# Texts from which one of the parity check is chosen, by its length.
_CHOICE = 50


@dataclass(frozen=True, slots=True)
class Identity:
    """How a bundle names itself, and what it says of its vectors."""

    name: str
    version: str
    # A Markdown file; `$version`, `$scores`, `$pairs` and `$parity` in it are filled in.
    card_template: Path
    # What `polygrain-train evaluate --out` wrote; None for a bundle that is not measured yet.
    scores: Path | None = None
    # Numbers of dimensions, rising, to which its vectors may be cut: the first of each.
    dimensions: tuple[int, ...] = ()


class StackedEncoder(nn.Module):
    """The whole graph: ids, mask and adapter of each row → unit embeddings and token states."""

    def __init__(
        self, model: nn.Module, selection: adapters.Selection, token_layer: int | None = None
    ) -> None:
        """`token_layer`, from 1: the layer after which token states are taken; None: the last."""
        super().__init__()
        self.model = model
        self._selection = selection
        self._token_layer = token_layer

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, adapter_ids: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(rows, tokens), (rows, tokens), (rows,) → (rows, dim), (rows, tokens, dim)."""
        self._selection.ids = adapter_ids
        states = layer_states(self.model, input_ids, attention_mask)
        tokens = states[-1] if self._token_layer is None else states[self._token_layer - 1]
        return normalize(masked_mean(states[-1], attention_mask), dim=-1), tokens


def export(
    run: Path,
    target: Path,
    identity: Identity,
    texts: Mapping[str, Sequence[str]],
    token_layer: LayerWish = LAST,
) -> float:
    """Write the bundle of a finished run to `target` and return the parity error.

    The graph's token states are those after the layer that `token_layer` asks for. `texts` holds
    real texts by language. The graph must agree with the AdapterHub model on all of them, through
    every adapter, in mixed batches and at every padding: the largest difference (`parity`) may be
    `PARITY_LIMIT`. Raises TrainingError, and writes nothing, where it is more, where an adapter of
    the run is not finished, or where there is no such layer.
    """
    record = read_run(run)
    recipe = Recipe.model_validate(record["recipe"])
    names = list(recipe.served)
    for name in names:
        if not finished_adapter(run, name).exists():
            raise TrainingError(f"{run}: adapter {name} is not finished; train on, then export")
    reference = trained(recipe, run)
    layer = choose(token_layer, reference, recipe)
    stacked = trained(recipe, run)
    selection = adapters.stack(stacked.model, names)
    encoder = StackedEncoder(stacked.model, selection, layer.layer).eval()
    with tempfile.TemporaryDirectory() as scratch:
        graph = Path(scratch) / GRAPH_NAME
        write_graph(encoder, stacked, len(names), graph, recipe.half_weights)
        error = parity(graph, reference, recipe, texts, layer.layer)
        if error > PARITY_LIMIT:
            raise TrainingError(
                f"the graph is off by {error:.1e} from torch; at most {PARITY_LIMIT:.0e} may pass"
            )
        manifest = _manifest(recipe, record, reference, identity, layer, error)
        files: dict[str, Path | bytes] = {
            **{file.name: file for file in Path(scratch).iterdir()},
            "tokenizer.json": stacked.tokenizer.to_str().encode(),
            "MODEL_CARD.md": _model_card(identity, manifest).encode(),
        }
        write(target, manifest, files)
    return error


def parity_sample(
    run: Path, corpus: Path, languages: int = 10, total: int = 200
) -> dict[str, list[str]]:
    """About `total` texts of `corpus` for `parity`, in equal parts from the run's first languages,
    of all the run's granularities, spread over length; the same ones each time.

    Of each granularity the corpus is read until those languages have texts enough to choose from,
    and to its end only where one of them is rare. Raises TrainingError where the corpus has too
    few languages of the run.
    """
    recipe = Recipe.model_validate(read_run(run)["recipe"])
    share = -(-total // languages)
    pools: dict[str, set[str]] = {language: set() for language in recipe.languages}
    for granularity in recipe.by_granularity:
        found = _first_texts(corpus, granularity, recipe.languages, languages, share)
        for language, texts in found.items():
            pools[language] |= texts
    filled = [language for language in recipe.languages if pools[language]][:languages]
    if len(filled) < languages:
        raise TrainingError(
            f"the parity check needs texts in {languages} languages of the run; "
            f"{corpus} has them in {len(filled)}"
        )
    sample = {}
    for language in filled:
        pool = sorted(pools[language], key=lambda text: (len(text), text))
        sample[language] = [pool[i] for i in np.linspace(0, len(pool) - 1, share).astype(int)]
    return sample


def _first_texts(
    corpus: Path, granularity: Granularity, languages: Sequence[str], wanted: int, share: int
) -> dict[str, set[str]]:
    """Texts of one granularity by language, the corpus' first: `_CHOICE` times `share` of each of
    the first `wanted` languages, or all that there are."""
    found: dict[str, set[str]] = {language: set() for language in languages}
    missing = set(languages[:wanted])
    for pair in stream_pairs(corpus, granularity, frozenset(languages)):
        texts = found[pair.language]
        if len(texts) < _CHOICE * share:
            texts.add(pair.other)
        elif pair.language in missing:
            missing.remove(pair.language)
            if not missing:
                break
    return found


def trained(recipe: Recipe, run: Path) -> Backbone:
    """The backbone of a finished run with its trained adapters, as AdapterHub computes them.

    Raises TrainingError where the backbone is no longer the one that the run was trained on.
    """
    backbone = Backbone.open(recipe.backbone, recipe.half_weights, attention="eager")
    if fingerprint(backbone) != read_run(run)["backbone_sha256"]:
        raise TrainingError(f"{recipe.backbone} is not the backbone that {run} was trained on")
    adapters.attach_kinds(backbone.model, recipe.kinds)
    for name in recipe.served:
        adapters.load_weights(backbone.model, name, adapters.load(finished_adapter(run, name)))
    backbone.model.eval()
    return backbone


def write_graph(
    encoder: StackedEncoder, backbone: Backbone, adapter_count: int, file: Path, half: bool
) -> None:
    """Write the ONNX graph of `encoder` to `file`; `half` as in `store_in_half`."""
    rows = backbone.tokenize(["one text", "another, rather longer, text"], 16)
    ids, mask = backbone.pad(rows)
    adapter_ids = torch.arange(len(rows)) % adapter_count
    with warnings.catch_warnings(), torch.no_grad():
        # The tracer warns of every Python branch in the library; parity is checked afterwards.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            encoder,
            (ids, mask, adapter_ids),
            str(file),
            input_names=["input_ids", "attention_mask", "adapter_ids"],
            output_names=["embedding", "tokens"],
            dynamic_axes={
                "input_ids": {0: "batch", 1: "tokens"},
                "attention_mask": {0: "batch", 1: "tokens"},
                "adapter_ids": {0: "batch"},
                "embedding": {0: "batch"},
                "tokens": {0: "batch", 1: "tokens"},
            },
            opset_version=OPSET,
            # The tracing exporter: its raw graph runs as fast as a fused one once the runtime has
            # optimised it, and the other one clashes with an output named `embedding`.
            dynamo=False,
        )
    model = onnx.load(str(file))
    if half:
        store_in_half(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(
        model,
        str(file),
        save_as_external_data=True,
        location=TABLES_NAME,
        size_threshold=_TABLE_MIN_BYTES,
    )


def _manifest(
    recipe: Recipe,
    record: dict[str, Any],
    backbone: Backbone,
    identity: Identity,
    token_layer: TokenLayer,
    error: float,
) -> dict[str, Any]:
    scores = _scores(identity)
    routing: dict[str, str] = {}
    for name, plan in recipe.served.items():
        if plan.granularity in TEXT_GRANULARITIES:
            routing.setdefault(str(plan.granularity), name)
    provenance = {
        "backbone": {
            "source": recipe.backbone,
            "sha256": record["backbone_sha256"],
            "half_weights": recipe.half_weights,
            **_backbone_record(recipe.backbone),
        },
        "recipe": record["recipe"],
        "pairs": {key.removeprefix("pairs."): n for key, n in record.items() if "pairs." in key},
        "versions": record["versions"],
        "parity_max_abs_error": error,
    }
    return {
        "name": identity.name,
        "version": identity.version,
        "dimension": backbone.dimension,
        "dimensions": _dimensions(identity, backbone.dimension),
        "vocabulary_size": backbone.tokenizer.get_vocab_size(),
        "languages": ("en", *recipe.languages),
        "pooling": Pooling.MEAN,
        "token_layer": token_layer,
        "adapters": [
            {
                "name": name,
                "granularity": plan.granularity,
                "row": row,
                "max_tokens": plan.max_tokens,
            }
            for row, (name, plan) in enumerate(recipe.served.items())
        ],
        "routing": routing,
        # Each adapter may learn a space of its own: only a measurement says that two share one.
        "comparable": _comparable(scores, routing),
        "graphs": {Precision.FLOAT32: GRAPH_NAME},
        "fidelity": {},  # `polygrain-train quantize` measures
        "tokenizer": {"file": "tokenizer.json", "pad_token_id": backbone.pad_token_id},
        "model_card": "MODEL_CARD.md",
        "scores": scores,
        "calibration": None,
        "provenance": provenance,
    }


def _dimensions(identity: Identity, whole: int) -> tuple[int, ...] | None:
    if not identity.dimensions:
        return None
    if not 0 < identity.dimensions[0] <= identity.dimensions[-1] < whole:
        raise TrainingError(
            f"dimensions: {', '.join(map(str, identity.dimensions))} are not all below the "
            f"{whole} that vectors have"
        )
    return (*identity.dimensions, whole)


def _scores(identity: Identity) -> dict[str, Any]:
    if identity.scores is None:
        return {}
    scores: dict[str, Any] = json.loads(identity.scores.read_text(encoding="utf-8"))
    return scores


def _comparable(scores: dict[str, Any], routing: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    if "evaluation" not in scores:
        return ()
    return comparable(Scores.model_validate(scores["evaluation"]), routing)


def _backbone_record(source: str) -> dict[str, Any]:
    """How `polygrain-train backbone` made the backbone; empty where something else did."""
    folder = Path(source)
    return {"made_by": read_run(folder)} if (folder / RUN_FILE).exists() else {}


def _model_card(identity: Identity, manifest: dict[str, Any]) -> str:
    scores, provenance = manifest["scores"], manifest["provenance"]
    pairs = [
        f"| {name} | {sum(by.values()):,} | {min(by, key=by.get)} {min(by.values()):,} |"
        for name, by in provenance["pairs"].items()
    ]
    values = {
        "version": identity.version,
        "scores": as_markdown(scores["by_language"]) if scores else "Not measured yet.",
        "pairs": "\n".join(["| adapter | pairs | rarest language |", "|---|---|---|", *pairs]),
        "parity": f"{provenance['parity_max_abs_error']:.1e}",
    }
    template = identity.card_template.read_text(encoding="utf-8")
    try:
        return string.Template(template).substitute(values)
    except (KeyError, ValueError) as error:
        raise TrainingError(
            f"{identity.card_template}: bad placeholder {error}; use {', '.join(values)}"
        ) from None
