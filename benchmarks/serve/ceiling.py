"""The chip's ceiling as a `Worker`: runtimes keep their threads out of the load generator."""

from __future__ import annotations

from typing import Any

from benchmarks.ceiling import SIZE, gflops, products
from benchmarks.serve.processes import answer_tasks
from service.encoding.session import available_cores


def main() -> None:
    """Answer tasks until the input ends."""
    table = products(SIZE, available_cores())

    def handle(task: dict[str, Any]) -> dict[str, Any]:
        return {name: gflops(one, SIZE, task["seconds"]) for name, one in table.items()}

    answer_tasks(handle)


if __name__ == "__main__":
    main()
