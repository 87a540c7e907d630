"""Settings of item-knn."""

from pydantic import Field, NonNegativeFloat, PositiveInt

from recbench.core import PluginConfig


class ItemKNNConfig(PluginConfig):
    """How the history is weighted and how many neighbours an item keeps."""

    decay: float = Field(default=1.0, gt=0, le=1)
    """Weight of an item of the history is decay to the power of its age, 0 for the latest; 1: all count alike."""
    neighbours: PositiveInt | None = None
    """A candidate is scored by its so many most similar items only; None: by all."""
    shrink: NonNegativeFloat = 1e-4
    """Added to the denominator of the cosine; so small a number only settles ties: the pair with more users in common goes first."""
