"""The benchmark of SASRec's losses, on a toy: every way of sampling is measured, and the plain way has the loss of the one used."""

import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbench.testing import interactions

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "sasrec_losses.py"
OVERRIDES: dict[str, Any] = {"batch_size": 60, "network.width": 8, "network.dropout": 0.0, "n_negatives": 256}


def test_every_row_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    train = interactions([rng.integers(0, 300, 8).tolist() for _ in range(40)], 300)
    script = runpy.run_path(str(SCRIPT))
    script["print_rows"](train, OVERRIDES, n_batches=3, repeats=1)
    printed = capsys.readouterr().out
    loss = {name: float(value) for name, value in re.findall(r"^(\S.*?) {2,}[\d,]+ targets/s .* loss ([\d.]+)$", printed, re.MULTILINE)}
    assert list(loss) == list(script["ROWS"])
    # The same draws in the same order, so the same numbers but for rounding.
    assert loss["slot"] == pytest.approx(loss["slot, gathered"], abs=2e-3)
    assert loss["ce"] == pytest.approx(np.log(300), abs=0.1)
    assert loss["batch"] == pytest.approx(np.log(257), abs=0.1)
