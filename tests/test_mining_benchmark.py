from __future__ import annotations

import re

from click.testing import CliRunner

from benchmarks.mining import main


def test_the_mining_benchmark_finds_what_it_planted() -> None:
    result = CliRunner().invoke(main, ["--lines", "300", "--targets", "200", "--dimensions", "32"])
    assert result.exit_code == 0, result.output
    assert "500 lines of both sides" in result.output
    found = re.search(r"([\d,]+) of them in equal places", result.output)
    assert found is not None
    assert int(found[1]) >= 85  # of 100; in 32 dimensions some lie near others
