"""Weights from a file, read only where they fit."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from recbench.core.errors import BadData


def load_weights(into: Mapping[str, Tensor], file: Path) -> None:
    """Copy the tensors of a safetensors file into those of a network, such as its `state_dict()` or `named_parameters()`.

    Raises:
        BadData: the file is missing or damaged, lacks one of the tensors, has one too many, or one of another shape.
    """
    try:
        file.open("rb").close()  # the library calls a file missing that the system does not open for want of file handles
        weights = load_file(file)
    except (SafetensorError, OSError) as error:
        raise BadData(f"{file} holds no weights that can be read: {error}. Restore it, or make the run again.") from None
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    expected = {name: tuple(tensor.shape) for name, tensor in into.items()}
    if found != expected:
        odd = min(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        raise BadData(
            f"{file}: {odd} has shape {found.get(odd)}, and the settings beside it ask for {expected.get(odd)}. Take weights and settings "
            "from the same run."
        )
    with torch.no_grad():
        for name, tensor in into.items():
            tensor.copy_(weights[name])
