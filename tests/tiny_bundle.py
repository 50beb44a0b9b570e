"""A bundle small enough to build in a test, and the same computation written a second time.

The graph is a toy of the real ones: an embedding table, one round of self-attention (so that a
padding bug shows in every row), a bottleneck adapter gathered for each row from stacked weights,
masked mean pooling, L2 normalisation. `expected_tokens` and `expected_embedding` compute it for
one text without padding, batches or ONNX, and are the oracle of the tests.
"""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from models import bundle
from models.bundle import Bundle

DIMENSION = 8
BOTTLENECK = 4
# Rows are not in the order of the list, so that a position taken for a row shows.
ADAPTERS: tuple[dict[str, Any], ...] = (
    {"name": "phrase", "granularity": "phrase", "row": 2, "max_tokens": 8},
    {"name": "sentence", "granularity": "sentence", "row": 0, "max_tokens": 16},
    {"name": "paragraph", "granularity": "paragraph", "row": 3, "max_tokens": 32},
    {"name": "word", "granularity": "word", "row": 1, "max_tokens": 16},
)
WORDS = ("the", "cat", "sat", "on", "mat", "dog", "le", "chat", "katze", "hund", "big", "red")
_CHARACTERS = string.ascii_lowercase + string.digits + string.punctuation + "éüß猫坐在垫子上。"
VOCABULARY = {
    token: number
    for number, token in enumerate(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *_CHARACTERS]
        + [f"##{character}" for character in _CHARACTERS]
    )
}

# As an export that measured would write it; the toy has one layer.
TOKEN_LAYER = {
    "layer": 1,
    "layers": 1,
    "measured": {
        "adapter": "word",
        "sentences": 3,
        "aer": [12.5],
        "aer_by_set": {"made_dev_en-de": [12.5]},
    },
}

Array = NDArray[np.float32]


def _weights(seed: int = 7) -> dict[str, Array]:
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> Array:
        return rng.normal(0.0, 1.0, shape).astype(np.float32)

    return {
        "table": draw(len(VOCABULARY), DIMENSION),
        "down": draw(len(ADAPTERS), DIMENSION, BOTTLENECK),
        "up": draw(len(ADAPTERS), BOTTLENECK, DIMENSION),
    }


WEIGHTS = _weights()


def tiny_tokenizer() -> Tokenizer:
    """A WordPiece tokenizer of single characters and a few words, with BERT's special tokens."""
    tokenizer = Tokenizer(WordPiece(VOCABULARY, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True, strip_accents=False)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", VOCABULARY["[CLS]"]), ("[SEP]", VOCABULARY["[SEP]"])],
    )
    # What a trainer leaves behind in the file; the service must not be led by it.
    tokenizer.enable_truncation(max_length=12)
    tokenizer.enable_padding(length=12, pad_id=VOCABULARY["[PAD]"])
    return tokenizer


def round_weights(model: onnx.ModelProto) -> None:
    """Leave in every weight of the toy's graph only what float16 holds exactly, in place."""
    for tensor in model.graph.initializer:
        if tensor.name in WEIGHTS:
            values = numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def tiny_graph() -> bytes:
    """The toy as an ONNX graph with the inputs and outputs that the bundle format asks for."""
    node = helper.make_node
    nodes = [
        node("Gather", ["table", "input_ids"], ["x"]),  # (b, t, d)
        node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),  # (b, t)
        node("Unsqueeze", ["mask", "axis_1"], ["mask_keys"]),  # (b, 1, t)
        node("Unsqueeze", ["mask", "axis_2"], ["mask_states"]),  # (b, t, 1)
        node("Transpose", ["x"], ["x_t"], perm=[0, 2, 1]),
        node("MatMul", ["x", "x_t"], ["scores"]),  # (b, t, t)
        node("Mul", ["scores", "scale"], ["scaled"]),
        node("Sub", ["mask_keys", "one"], ["hidden"]),
        node("Mul", ["hidden", "huge"], ["bias"]),
        node("Add", ["scaled", "bias"], ["masked"]),
        node("Softmax", ["masked"], ["attention"], axis=-1),
        node("MatMul", ["attention", "x"], ["mixed"]),
        node("Add", ["x", "mixed"], ["h"]),
        node("Gather", ["down", "adapter_ids"], ["down_rows"]),  # (b, d, r)
        node("Gather", ["up", "adapter_ids"], ["up_rows"]),  # (b, r, d)
        node("MatMul", ["h", "down_rows"], ["narrow"]),
        node("Relu", ["narrow"], ["active"]),
        node("MatMul", ["active", "up_rows"], ["wide"]),
        node("Add", ["h", "wide"], ["tokens"]),
        node("Mul", ["tokens", "mask_states"], ["real"]),
        node("ReduceSum", ["real", "axis_1"], ["total"], keepdims=0),  # (b, d)
        node("ReduceSum", ["mask", "axis_1"], ["count"], keepdims=1),  # (b, 1)
        node("Div", ["total", "count"], ["mean"]),
        node("LpNormalization", ["mean"], ["embedding"], axis=-1, p=2),
    ]
    integers, floats = TensorProto.INT64, TensorProto.FLOAT
    constants: dict[str, NDArray[Any]] = {
        **WEIGHTS,
        "axis_1": np.array([1], np.int64),
        "axis_2": np.array([2], np.int64),
        "scale": np.array(DIMENSION**-0.5, np.float32),
        "one": np.array(1.0, np.float32),
        "huge": np.array(1e9, np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("input_ids", integers, ["batch", "tokens"]),
            helper.make_tensor_value_info("attention_mask", integers, ["batch", "tokens"]),
            helper.make_tensor_value_info("adapter_ids", integers, ["batch"]),
        ],
        [
            helper.make_tensor_value_info("embedding", floats, ["batch", DIMENSION]),
            helper.make_tensor_value_info("tokens", floats, ["batch", "tokens", DIMENSION]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def write_tiny_bundle(
    path: Path, *, graph: bytes | None = None, tokenizer_json: str | None = None, **changes: object
) -> Bundle:
    """Write the tiny bundle to `path`; `changes` replace fields of its manifest.

    `graph` and `tokenizer_json` replace the two files, for tests of bundles that do not fit
    together.
    """
    manifest: dict[str, Any] = {
        "name": "tiny",
        "version": "0.1.0",
        "dimension": DIMENSION,
        "vocabulary_size": len(VOCABULARY),
        "languages": ("en", "fr", "de"),
        "pooling": "mean",
        "adapters": ADAPTERS,
        "routing": {"phrase": "phrase", "sentence": "sentence", "paragraph": "paragraph"},
        "comparable": (("sentence", "paragraph"),),
        "graphs": {"float32": "encoder.onnx"},
        "fidelity": {},
        "tokenizer": {"file": "tokenizer.json", "pad_token_id": VOCABULARY["[PAD]"]},
        "model_card": "MODEL_CARD.md",
        "provenance": {"made_by": "tests"},
        "scores": {},
        "calibration": None,
    }
    files: dict[str, Path | bytes] = {
        "encoder.onnx": tiny_graph() if graph is None else graph,
        "tokenizer.json": (tokenizer_json or tiny_tokenizer().to_str()).encode(),
        "MODEL_CARD.md": b"# tiny\n\nA toy for tests.\n",
    }
    return bundle.write(path, {**manifest, **changes}, files)


def expected_tokens(ids: list[int], row: int) -> Array:
    """What the graph's `tokens` must be for one text: (len(ids), dimension)."""
    x = WEIGHTS["table"][ids]
    weights = np.exp(x @ x.T / np.sqrt(DIMENSION))
    h = x + weights / weights.sum(axis=1, keepdims=True) @ x
    states: Array = h + np.maximum(h @ WEIGHTS["down"][row], 0) @ WEIGHTS["up"][row]
    return states


def expected_embedding(text: str, adapter: str) -> Array:
    """The unit vector of one short text under `adapter`, computed alone and without ONNX."""
    tokenizer = tiny_tokenizer()
    tokenizer.no_truncation()
    tokenizer.no_padding()
    row = next(a["row"] for a in ADAPTERS if a["name"] == adapter)
    mean = expected_tokens(tokenizer.encode(text).ids, row).mean(axis=0)
    unit: Array = (mean / np.linalg.norm(mean)).astype(np.float32)
    return unit
