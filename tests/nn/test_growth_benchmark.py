"""The benchmark of growth, at toy sizes: every part is measured, and the exponent is that of neighbouring sizes."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "growth.py"


def test_every_part_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    script = runpy.run_path(str(SCRIPT))
    script["SIZES"].update(search=(300, 900), ranking=(200, 600), training=(100, 300))
    script["main"](["--repeats", "1"])
    printed = capsys.readouterr().out
    for part, sizes in script["SIZES"].items():
        table = printed[printed.index(part) :].split("  fit", 1)[0]
        rows = re.findall(r"^ +(\d+) +(\d+\.\d+) *(-?\d+\.\d+)?$", table, re.MULTILINE)
        assert [int(size) for size, _, _ in rows] == list(sizes)
        (_, first, none), (_, second, exponent) = rows
        assert none == ""
        # Times are printed to a microsecond.
        bounds = [np.log((float(second) + a * 5e-4) / max(float(first) - a * 5e-4, 1e-9)) / np.log(3) for a in (-1, 1)]
        assert bounds[0] - 0.01 <= float(exponent) <= bounds[1] + 0.01
