"""Whether the service gives the vectors that were trained, whoever shares the request.

    python -m benchmarks.fidelity --run runs/NAME --bundle FOLDER --corpus DATA

sends 100 texts of mixed language, granularity and length to `/embed` in one request, sends each
again alone, and encodes each alone with the AdapterHub model of the run that the bundle came from.
It prints the lowest cosine between together and alone, and the largest difference from torch.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch
from starlette.testclient import TestClient
from torch.nn.functional import normalize

from models.bundle import TEXT_GRANULARITIES
from service.app import create_app
from service.encoding.encoder import Encoder
from service.settings import Settings
from training import adapters
from training.backbone import masked_mean
from training.corpora.sampling import load_pairs
from training.export import trained
from training.recipe import Recipe
from training.run import read_run

_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command()
@click.option("--run", type=_FOLDER, required=True, help="the finished training run")
@click.option("--bundle", type=_FOLDER, required=True, help="the bundle exported from it")
@click.option("--corpus", type=_FOLDER, required=True, help="where the texts come from")
@click.option("--texts", "count", default=100, show_default=True)
def main(run: Path, bundle: Path, corpus: Path, count: int) -> None:
    """Compare one mixed request with each text alone, and with torch."""
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
