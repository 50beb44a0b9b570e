"""Whether the service gives the vectors that were trained, in every precision, whoever shares the
request.

    python -m benchmarks.fidelity --bundle FOLDER --corpus TABLE [--texts N]

prints the fidelity to ONNX Runtime's float32 of every runtime and precision that runs here, on
texts of a corpus table in all the bundle's languages and granularities.

    python -m benchmarks.fidelity --run runs/NAME --bundle FOLDER --corpus DATA [--texts N]

sends texts of mixed language, granularity and length to `/embed` in one request, sends each again
alone, and encodes each alone with the AdapterHub model of the run that the bundle came from. It
prints the lowest cosine between together and alone, and the largest difference from torch.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch
from starlette.testclient import TestClient
from torch.nn.functional import normalize

from models.bundle import TEXT_GRANULARITIES, Bundle
from models.precision import Precision
from service.app import create_app
from service.encoding.encoder import Encoder
from service.encoding.session import Device, Runtime, Session, Wish
from service.encoding.session.choice import WAYS
from service.encoding.tokenizer import Batch
from service.settings import Settings, SettingsError
from training import adapters
from training.backbone import masked_mean
from training.corpora.sampling import load_pairs
from training.export import trained
from training.precisions.command import as_line
from training.precisions.fidelity import embed, measure
from training.precisions.running import Feed, Runner, Vectors
from training.precisions.texts import draw
from training.recipe import Recipe
from training.run import read_run

_EXISTING = click.Path(path_type=Path, exists=True)
_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command()
@click.option("--run", type=_FOLDER, help="the finished training run, to compare with torch")
@click.option("--bundle", type=_FOLDER, required=True, help="the bundle")
@click.option("--corpus", type=_EXISTING, required=True, help="where the texts come from")
@click.option("--texts", "count", default=100, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="[default: all cores]")
def main(run: Path | None, bundle: Path, corpus: Path, count: int, threads: int | None) -> None:
    """Compare every precision with float32, or with --run one mixed request with torch."""
    if run is None:
        compare_precisions(bundle, corpus, count, threads)
    else:
        compare_with_torch(run, bundle, corpus, count)


def compare_precisions(path: Path, table: Path, count: int, threads: int | None) -> None:
    """Print the fidelity of every way to compute the bundle that runs here."""
    bundle = Bundle.open(path)
    _, texts = draw(table, bundle, 2, count)
    pad = bundle.manifest.tokenizer.pad_token_id
    base = Wish(Runtime.ONNXRUNTIME, Precision.FLOAT32, Device.CPU)
    reference = embed(_runner(Session.open(bundle, threads, base)), texts, pad)
    for way, _ in WAYS:
        wish = Wish(way.runtime, way.precision, way.device)
        try:
            runner = _runner(Session.open(bundle, threads, wish))
        except SettingsError as error:
            click.echo(f"left out: {error}")
            continue
        fidelity = measure(runner, reference, texts, pad, table.name)
        click.echo(as_line(way.precision, fidelity))


def _runner(session: Session) -> Runner:
    def run(feed: Feed) -> Vectors:
        vectors: Vectors = session.embed(Batch(**feed))
        return vectors

    return Runner(run, f"{session.choice.runtime} on {session.choice.device}")


def compare_with_torch(run: Path, bundle: Path, corpus: Path, count: int) -> None:
    """Print how far one mixed request is from each text alone, and from torch."""
    recipe = Recipe.model_validate(read_run(run)["recipe"])
    texts = _texts(recipe, corpus, count)
    reference = trained(recipe, run)
    lowest, largest = 1.0, 0.0
    with TestClient(create_app(Settings(bundle=bundle), Encoder.open(bundle))) as client:
        together = _embed(client, texts)
        for text, (adapter, vector) in zip(texts, together, strict=True):
            ((_, alone),) = _embed(client, [text])
            lowest = min(lowest, float(vector @ alone))
            adapters.select(reference.model, adapter)
            ids, mask = reference.pad(reference.tokenize([text], recipe.served[adapter].max_tokens))
            with torch.no_grad():
                states = reference.model(input_ids=ids, attention_mask=mask).last_hidden_state
            expected = normalize(masked_mean(states, mask), dim=-1)[0].numpy()
            largest = max(largest, float(np.abs(expected - vector).max()))
    used = ", ".join(f"{sum(a == name for a, _ in together)} {name}" for name in recipe.served)
    click.echo(f"{len(texts)} texts ({used}) in one request")
    click.echo(f"lowest cosine between a text in the request and alone: {lowest:.7f}")
    click.echo(f"largest absolute difference from the torch model: {largest:.1e}")


def _texts(recipe: Recipe, corpus: Path, count: int) -> list[str]:
    """Texts of every language and granularity in turn, spread over length."""
    rng = np.random.default_rng(0)
    pools = []
    for granularity in TEXT_GRANULARITIES:
        by_language = load_pairs(corpus, granularity, recipe.languages, frozenset())
        pools += [[pair.other for pair in pairs] for pairs in by_language.values() if pairs]
    places = rng.permutation(len(pools))
    return [
        pool[int(rng.integers(len(pool)))]
        for pool in (pools[places[number % len(pools)]] for number in range(count))
    ]


def _embed(client: TestClient, texts: list[str]) -> list[tuple[str, np.ndarray]]:
    # Cut and not windowed, so that the reference can do the same.
    response = client.post("/embed", json={"inputs": texts, "long_text": "truncate"})
    response.raise_for_status()
    data = response.json()["data"]
    return [(item["adapter"], np.array(item["embedding"], np.float32)) for item in data]


if __name__ == "__main__":
    main()
