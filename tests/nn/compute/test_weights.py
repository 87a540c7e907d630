"""Weights are copied where they fit, and refused with the name of what does not."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from recbench.core import BadData
from recbench.nn.compute.weights import load_weights


def test_weights_are_copied_into_what_is_there(tmp_path: Path) -> None:
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    place = target.weight
    load_weights(target.state_dict(), tmp_path / "weights.safetensors")
    assert target.weight is place
    assert torch.equal(target.weight, source.weight)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"weight": torch.zeros(2, 4)}, r"weight has shape \(2, 4\), and the settings beside it ask for \(2, 3\)"),
        ({"extra": torch.zeros(1)}, r"extra has shape \(1,\), and .* ask for None"),
        ({"bias": None}, r"bias has shape None"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, torch.Tensor | None], named: str, tmp_path: Path) -> None:
    target = nn.Linear(3, 2)
    before = target.weight.clone()
    weights = {name: value for name, value in {**target.state_dict(), **change}.items() if value is not None}
    save_file(weights, tmp_path / "weights.safetensors")
    with pytest.raises(BadData, match=named):
        load_weights(target.state_dict(), tmp_path / "weights.safetensors")
    assert torch.equal(target.weight, before)
