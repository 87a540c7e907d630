"""Settings of EASE."""

from typing import Literal

from pydantic import Field, PositiveFloat

from recbench.core import PluginConfig


class EASEConfig(PluginConfig):
    """How strongly weights are held down and how the history is weighted."""

    regularisation: PositiveFloat | Literal["validation"] = "validation"
    """The paper's lambda; `validation` picks from `candidates`."""
    candidates: tuple[PositiveFloat, ...] = Field(default=(50.0, 100.0, 250.0, 500.0, 1000.0), min_length=1)
    """Values that are tried on the validation users."""
    decay: float = Field(default=1.0, gt=0, le=1)
    """Weight of an item of the history is decay to the power of its age, 0 for the latest; 1: all count alike, as published."""
