"""Our engine without HTTP, under the same closed loop: what the service could reach at best.

Runs as a `Worker` of the benchmark: the application's own engine in a process of its own, asked by
tasks within its event loop. Settings come from the environment, as the server's do.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.serve.processes import answer_tasks
from benchmarks.serve.window import OK, Answered, Window, figures
from service.app import create_app
from service.encoding.encoder import Encoder, Engine, Options, Unit
from service.encoding.session import Wish
from service.encoding.tokenizer import LongText
from service.settings import read_settings

# As in the requests to our server (`contestants.POLYGRAIN`).
_OPTIONS = Options(LongText.TRUNCATE)


def main() -> None:
    """Open the bundle named on the command line and answer tasks until the input ends."""
    settings = read_settings({"bundle": Path(sys.argv[1])})
    wish = Wish.of(settings)
    encoder = Encoder.open(settings.bundle, threads=settings.threads, wish=wish)
    app = create_app(settings, encoder)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        lifespan = app.router.lifespan_context(app)
        runner.run(lifespan.__aenter__())
        engine = app.state.service.engine

        def handle(task: dict[str, Any]) -> dict[str, Any]:
            batches = json.loads(Path(task["batches"]).read_text(encoding="utf-8"))
            first = int(task["skip"] * len(batches))
            batches = batches[first:] + batches[:first]
            window = closed_loop(engine, batches, task["clients"], task["seconds"], task["warm_s"])
            return runner.run(window).as_json()

        answer_tasks(handle)
        runner.run(lifespan.__aexit__(None, None, None))


async def closed_loop(
    engine: Engine,
    batches: Sequence[Sequence[str]],
    clients: int,
    seconds: float,
    warm_s: float,
) -> Window:
    """`load.closed_loop`, with calls of the engine in the place of requests."""
    supply = itertools.cycle([[Unit(text, "text") for text in batch] for batch in batches])
    answered: list[Answered] = []
    over = False

    async def client() -> None:
        while not over:
            units, sent_s = next(supply), time.perf_counter()
            await engine.encode(units, _OPTIONS)
            answered.append(Answered(sent_s, time.perf_counter(), len(units), OK))

    tasks = [asyncio.create_task(client()) for _ in range(clients)]
    await asyncio.sleep(warm_s)
    enough = len(answered) + 2 * clients
    start_s, cpu_s = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    while len(answered) < enough and not any(task.done() for task in tasks):
        await asyncio.sleep(0.02)
    end_s, cpu_s = time.perf_counter(), time.process_time() - cpu_s
    over = True
    await asyncio.gather(*tasks)
    return figures(answered, start_s, end_s, cpu_s=cpu_s, generator_cpu_s=0.0)


if __name__ == "__main__":
    main()
