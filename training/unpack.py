"""Take a bundle apart into what it was exported from: a backbone and a finished run.

For those who have the bundle and not its run: to train one adapter more on its backbone, or to
export its adapters anew. The graph holds every weight as it was trained, so nothing is lost: the
backbone has the fingerprint that the manifest records, to the bit.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from adapters.methods.bottleneck import BottleneckLayer
from onnx import TensorProto, numpy_helper
from tokenizers import Tokenizer
from torch import Tensor, nn

from models.bundle import Bundle
from training import adapters
from training.adapters.kinds import Lora
from training.adapters.stack import stack_names
from training.adapters.weights import parts
from training.backbone import Backbone
from training.errors import TrainingError
from training.files import replace
from training.recipe import JOINT, Recipe
from training.run import RUN_FILE
from training.student.context import save_tokenizer
from training.student.model import StudentConfig, StudentModel
from training.student.recipe import BackboneRecipe
from training.trainer import ADAPTER_FILE, fingerprint

BACKBONE_FOLDER = "backbone"


def unpack(bundle_folder: Path, run: Path) -> Recipe:
    """Write the run that the bundle was exported from to `run`, which must not exist: `run.json`,
    each adapter's weights, and the backbone in `run`/backbone. Returns its recipe.

    Raises TrainingError where the backbone is not one that `polygrain-train backbone` made (others
    are to be had where their bundle's provenance says), where an adapter's kind is not stored as it
    was trained, or where what comes out differs from what the manifest records.
    """
    if run.exists():
        raise FileExistsError(f"{run} exists; a run is never overwritten: choose another folder")
    bundle = Bundle.open(bundle_folder)
    recipe, record = _recorded(bundle, run)
    graph = Graph.read(bundle)
    run.parent.mkdir(parents=True, exist_ok=True)
    replace(run, lambda staged: _write(staged, bundle, recipe, record, graph))
    return recipe


def unpack_first_layers(bundle_folder: Path, run: Path, layers: int) -> Path:
    """Write the first `layers` layers of the bundle's backbone to `run`/backbone, and no adapters,
    which do not fit it; return that folder.

    Layers add to the stream of token vectors, so what is left is an encoder too: a weaker and
    quicker one, for ablations. Raises as `unpack` does, and where there are not so many layers.
    """
    if run.exists():
        raise FileExistsError(f"{run} exists; a run is never overwritten: choose another folder")
    bundle = Bundle.open(bundle_folder)
    with tempfile.TemporaryDirectory() as scratch:
        recipe = unpack(bundle_folder, Path(scratch) / "whole")
        whole: Any = StudentModel.from_pretrained(recipe.backbone)
        if not 0 < layers < whole.config.num_hidden_layers:
            raise TrainingError(
                f"--layers is {layers}; the backbone has {whole.config.num_hidden_layers} layers, "
                "of which some, and not all, can be kept"
            )
        config = StudentConfig(**{**whole.config.to_dict(), "num_hidden_layers": layers})
        cut: Any = StudentModel(config)
        weights = whole.state_dict()
        cut.load_state_dict({name: weights[name] for name in cut.state_dict()})
        origin = {"first_layers": layers, "of": f"{bundle.manifest.name} {bundle.manifest.version}"}

        def write(staged: Path) -> None:
            cut.save_pretrained(staged / BACKBONE_FOLDER, safe_serialization=True)
            save_tokenizer(
                Tokenizer.from_file(f"{recipe.backbone}/tokenizer.json"), staged / BACKBONE_FOLDER
            )
            _write_json(staged / BACKBONE_FOLDER / RUN_FILE, origin)

        run.parent.mkdir(parents=True, exist_ok=True)
        replace(run, write)
    return run / BACKBONE_FOLDER


def _recorded(bundle: Bundle, run: Path) -> tuple[Recipe, dict[str, Any]]:
    """The recipe and the record of the run, the backbone where it will be."""
    provenance = bundle.manifest.provenance
    backbone = provenance.get("backbone", {})
    if "recipe" not in provenance or "made_by" not in backbone:
        source = backbone.get("source", "unknown")
        raise TrainingError(
            f"bundle {bundle.path}: its backbone ({source}) was not made by `polygrain-train "
            "backbone`; name that encoder in a recipe instead of unpacking it"
        )
    recipe = Recipe.model_validate(provenance["recipe"])
    recipe = recipe.model_copy(update={"backbone": str(run / BACKBONE_FOLDER)})
    if recipe.joint is not None or recipe.averages:
        raise TrainingError(
            f"bundle {bundle.path}: it has averages or a {JOINT} stage, whose parts it does not "
            "hold; train its recipe anew"
        )
    if lora := [name for name, kind in recipe.kinds.items() if isinstance(kind, Lora)]:
        raise TrainingError(
            f"bundle {bundle.path}: adapter {lora[0]} is a lora, stored with its scale in its "
            "weights; only bottlenecks and heads can be unpacked"
        )
    return recipe, {
        "recipe": recipe.model_dump(mode="json"),
        "backbone_sha256": backbone["sha256"],
        "versions": provenance["versions"],
        **{f"pairs.{name}": counts for name, counts in provenance["pairs"].items()},
        "unpacked_from": {
            "name": bundle.manifest.name,
            "version": bundle.manifest.version,
            "graph_sha256": bundle.manifest.files[bundle.graph().name].sha256,
        },
    }


def _write(
    folder: Path, bundle: Bundle, recipe: Recipe, record: Mapping[str, Any], graph: Graph
) -> None:
    folder.mkdir(parents=True)
    made_by = bundle.manifest.provenance["backbone"]["made_by"]
    plan = BackboneRecipe.model_validate(made_by["recipe"])
    home = folder / BACKBONE_FOLDER
    _student(graph, plan).save_pretrained(home, safe_serialization=True)
    tokenizer = Tokenizer.from_file(str(bundle.file(bundle.manifest.tokenizer.file)))
    save_tokenizer(tokenizer, home)
    _write_json(home / RUN_FILE, made_by)
    backbone = Backbone.open(str(home), recipe.half_weights)
    if (found := fingerprint(backbone)) != record["backbone_sha256"]:
        raise TrainingError(
            f"bundle {bundle.path}: its graph gives a backbone of sha256 {found}, and its manifest "
            f"records {record['backbone_sha256']}"
        )
    adapters.attach_kinds(backbone.model, recipe.kinds)
    rows = {adapter.name: adapter.row for adapter in bundle.manifest.adapters}
    stacks = stack_names(backbone.model, sorted(rows, key=rows.__getitem__))
    for name in recipe.served:
        weights = _adapter(graph, backbone.model, name, stacks[name], rows[name])
        (folder / name).mkdir()
        adapters.save(folder / name / ADAPTER_FILE, weights)
    _write_json(folder / RUN_FILE, record)


def _write_json(file: Path, values: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


class Graph:
    """The weights of an exported graph, by the names that torch gave them."""

    def __init__(self, stored: Mapping[str, Tensor], factors: Mapping[str, Tensor]) -> None:
        self._stored = stored
        self._factors = factors

    @classmethod
    def read(cls, bundle: Bundle) -> Graph:
        """The float32 graph of `bundle`, weights that it stores as float16 as float32 again."""
        graph = onnx.load(str(bundle.graph())).graph
        stored = {
            each.name.removesuffix("_float16"): _as_float(each)
            for each in graph.initializer
            if each.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16)
        }
        # Of equal weights, such as biases that nothing moved, the exporter stores one.
        for node in graph.node:
            if node.op_type == "Identity" and node.input[0] in stored:
                stored[node.output[0]] = stored[node.input[0]]
        # The exporter stores a linear layer's weight transposed, under a name of its own; the
        # product that uses it is called after the layer.
        factors = {
            node.name.removeprefix("/model/").removesuffix("/MatMul").replace("/", "."): stored[
                node.input[1]
            ]
            for node in graph.node
            if node.op_type == "MatMul" and node.input[1] in stored
        }
        return cls(stored, factors)

    def parameter(self, name: str) -> Tensor:
        """The parameter `name` of the encoder, as torch had it; TrainingError where there is none.

        Shapes as in torch: a linear layer's weight is (out, in).
        """
        if (found := self._stored.get(f"model.{name}")) is not None:
            return found
        place = name.removesuffix(".weight").removeprefix("encoder.")
        if (factor := self._factors.get(place)) is not None:
            return factor.T.contiguous()
        raise TrainingError(f"the graph has no weights called {name}; another exporter made it")

    def has(self, name: str) -> bool:
        """Whether there is a parameter of that name."""
        place = name.removesuffix(".weight").removeprefix("encoder.")
        return f"model.{name}" in self._stored or place in self._factors


def _as_float(tensor: onnx.TensorProto) -> Tensor:
    return torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float32))


def _student(graph: Graph, recipe: BackboneRecipe) -> StudentModel:
    table = graph.parameter("embeddings.weight")
    config = StudentConfig(
        vocab_size=len(table),
        hidden_size=table.shape[1],
        num_hidden_layers=recipe.context.layers,
        intermediate_size=recipe.context.feed_forward,
        num_attention_heads=recipe.context.heads,
        rotated=graph.has("rotation.weight"),
    )
    model: StudentModel = StudentModel(config)
    model.load_state_dict({name: graph.parameter(name) for name in model.state_dict()})
    model.eval()
    return model


def _adapter(graph: Graph, model: nn.Module, name: str, stack: str, row: int) -> dict[str, Tensor]:
    """The weights of adapter `name`, as `adapters.weights` keys them, from its row of a stack."""
    weights = {}
    for path, place, part in parts(model, name):
        holder = f"{path}.adapters" if isinstance(place, BottleneckLayer) else path
        for key, parameter in part.named_parameters():
            rows = graph.parameter(f"{holder}.{stack}.{key}")
            weights[f"{path}.{key}"] = _cut(rows[row], key, tuple(parameter.shape))
    return weights


def _cut(stack: Tensor, key: str, shape: tuple[int, ...]) -> Tensor:
    """One adapter's part of a stack, whose rows are as wide as the widest adapter."""
    if key.endswith("bias"):
        return stack[0, : shape[0]].clone()
    return stack.T[: shape[0], : shape[1]].contiguous()
