"""`--measure`: energy and floating-point operations of a training, in its record only where they were asked for."""

import math
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from recbench.nn.compute.projection import linear, product
from recbench.running.run.consumption import Consumption
from tests.cli.plugin_parts import SAME_LIST_FOR_ALL

needs_codecarbon = pytest.mark.skipif(
    find_spec("codecarbon") is None, reason="not installed: codecarbon: pip install 'genrecbench[measure]'"
)
MULTIPLIES = (
    """
import numpy as np
from recbench.core import FitReport, Plugin, PluginConfig, Rankings

class Config(PluginConfig):
    rows: int = 16
    '''Of one side of its product.'''

class Model:
    def __init__(self, config, catalogue):
        self.rows = config.rows
    def fit(self, context):
        import torch
        torch.ones(self.rows, 32) @ torch.ones(32, 8)
        return FitReport()
"""
    + SAME_LIST_FOR_ALL
)


@pytest.fixture
def odd(write_plugin: Callable[..., Path], demo_home: Path) -> Sequence[str | Path]:
    """Command that runs a model which multiplies two matrices."""
    assert demo_home.is_dir()
    plugin = write_plugin("odd", init=MULTIPLIES)
    return ("run", "-m", "odd", "-d", "demo", "--device", "cpu", "--threads", "1", "--seen", "keep", "--json", "--plugin", plugin)


def cost(done: Any) -> Any:
    assert done.code == 0, done.stderr
    return done.json["record"]["cost"]


def test_operations_are_counted_where_asked_for(recbench: Any, odd: Sequence[str | Path]) -> None:
    plain = cost(recbench(*odd))
    assert not {"train_flops", "train_energy_kwh"} & plain.keys()
    cached = recbench(*odd, "--again", "--measure", "flops")
    assert "train_flops" not in cost(cached)
    assert "training-odd was in the cache" in " ".join(cached.stderr.split())
    counted = cost(recbench(*odd, "--rerun", "training-odd", "--measure", "flops"))
    assert counted["train_flops"] == 2 * 16 * 32 * 8
    assert "train_energy_kwh" not in counted
    # A training that was measured once need not be again, and is not told of unasked.
    assert cost(recbench(*odd, "--again", "--measure", "flops"))["train_flops"] == 2 * 16 * 32 * 8
    assert cost(recbench(*odd, "--again")).keys() == plain.keys()


@needs_codecarbon
def test_energy_is_measured_where_asked_for_and_shown(recbench: Any, odd: Sequence[str | Path]) -> None:
    done = recbench(*odd, "--measure", "energy,flops")
    measured = cost(done)
    assert math.isfinite(measured["train_energy_kwh"])
    assert measured["train_energy_kwh"] >= 0
    assert "codecarbon" not in done.stderr
    shown = " ".join(recbench("show", "last").stdout.split())
    assert "Wh." in shown
    assert "GFLOP." in shown
    assert [path.name for path in recbench.folder.iterdir()] == ["runs"]


def test_what_cannot_be_measured_is_refused(recbench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in (("run", "-m", "item-knn", "-d", "demo"), ("compare", "-m", "item-knn", "-d", "demo")):
        recbench(*command, "--measure", "energi").refuses("'energi'", "Did you mean 'energy'?")
        recbench(*command, "--measure", "flops,flops").refuses("names 'flops' more than once")
        with monkeypatch.context() as without:
            without.setitem(sys.modules, "codecarbon", None)
            recbench(*command, "--measure", "energy").refuses("needs codecarbon", "pip install 'genrecbench[measure]'")


def test_operations_of_our_own_products_and_of_backward_passes_are_counted() -> None:
    x, weight = torch.ones(6, 5, requires_grad=True), torch.ones(4, 5, requires_grad=True)
    consumption = Consumption(["flops"])
    with consumption.measuring():
        linear(x, weight).sum().backward()
    assert consumption.consumed.flops == 3 * 2 * 6 * 5 * 4
    with consumption.measuring(), torch.no_grad():
        product(x, weight)
    assert consumption.consumed.flops == 2 * 6 * 5 * 4
