"""Settings of feedback-knn."""

from pydantic import NonNegativeFloat, PositiveInt

from recbench.core import PluginConfig


class FeedbackKNNConfig(PluginConfig):
    """How two items are compared by the people who used both."""

    shrink: NonNegativeFloat = 0.0
    """Added to the denominator of the cosine, so that pairs that few people share count less."""
    neighbours: PositiveInt | None = None
    """A candidate is scored by its so many most similar items only; None: by all."""
