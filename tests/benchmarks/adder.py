"""A worker for tests: adds its argument to a number."""

from __future__ import annotations

import os
import sys

from benchmarks.serve.processes import answer_tasks

if __name__ == "__main__":
    answer_tasks(
        lambda task: {"sum": task["number"] + int(sys.argv[1]), "unit": os.environ["ADDER_UNIT"]}
    )
