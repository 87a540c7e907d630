"""Settings of similarities between items. Imports no torch, so that a plugin's config may hold them."""

from typing import Literal

from pydantic import NonNegativeFloat, PositiveInt

from recbench.core.config import PluginConfig

Similarity = Literal["cosine", "count"]
"""`cosine`: of the columns of who has what. `count`: how many have both."""
_ALL: tuple[Similarity, ...] = ("cosine", "count")


class SimilaritySettings(PluginConfig):
    """How the items that share a list are compared."""

    similarity: Similarity | Literal["validation"] = "validation"
    """`cosine` discounts popular items, `count` does not; `validation` takes the better of the two on the validation queries."""
    shrink: NonNegativeFloat = 0.0
    """Added to the denominator of the cosine, so that pairs that few lists share count less."""
    neighbours: PositiveInt | None = None
    """A candidate is scored by its so many most similar items only; None: by all."""

    @property
    def similarities(self) -> tuple[Similarity, ...]:
        """What validation chooses from, or the one that is set."""
        return _ALL if self.similarity == "validation" else (self.similarity,)
