"""Settings of ppmi-svd."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from recbench.core import PluginConfig
from recbench.nn.ranking import SimilaritySettings


class PPMISVDConfig(PluginConfig):
    """How candidates are found and ranked again."""

    bundles: SimilaritySettings = SimilaritySettings(similarity="cosine")
    width: PositiveInt = 128
    """Width of the item vectors, at most; there are no more directions than items."""
    n_candidates: PositiveInt = 200
    """So many best items by bundles are ranked again, those that share no bundle with an item that is shown left out."""
    vector_weight: NonNegativeFloat | Literal["validation"] = "validation"
    """Weight of the mean cosine of item vectors beside the similarity by bundles; 0: cobundle-knn. `validation` picks from `weights`."""
    weights: tuple[NonNegativeFloat, ...] = Field(default=(0.0, 0.1, 0.3, 1.0), min_length=1)
    """Weights that are tried on the validation queries."""
