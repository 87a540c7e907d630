"""Settings of blend."""

from typing import Literal

from pydantic import Field, NonNegativeFloat

from recbench.core import PluginConfig
from recbench.nn.ranking import SimilaritySettings
from recbench.nn.text import TextSettings


class BlendConfig(PluginConfig):
    """Its two halves and the weight between them."""

    bundles: SimilaritySettings = SimilaritySettings()
    text: TextSettings = TextSettings()
    text_weight: NonNegativeFloat | Literal["validation"] = "validation"
    """Weight of the cosine of texts beside the similarity by bundles; 0: cobundle-knn. `validation` picks from `candidates`."""
    candidates: tuple[NonNegativeFloat, ...] = Field(default=(0.1, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 100.0), min_length=1)
    """Weights that are tried on the validation queries. At 100 the bundles only order items of like texts."""
