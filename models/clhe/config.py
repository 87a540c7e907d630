"""Settings of CLHE."""

from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from recbench.core import PluginConfig
from recbench.nn.text import CategorySettings, ContentSettings, TextSettings
from recbench.nn.training import TrainingSettings

_FULL_VIEW = 1.0


class LightGCNSettings(PluginConfig):
    """Training of LightGCN (arXiv:2002.02126) on users' feedback. The source does not say how its vectors were trained."""

    n_layers: PositiveInt = 2
    """Steps along the edges between users and items."""
    l2: NonNegativeFloat = 1e-4
    """Weight of the squared lengths of the vectors that a batch compares."""
    batch_size: PositiveInt = 2048
    """Pairs of user and item of a batch, each with one negative."""
    training: TrainingSettings = TrainingSettings(optimizer="adam", learning_rate=1e-3, max_epochs=20)


class FeedbackSettings(PluginConfig):
    """How users' feedback becomes vectors of the items."""

    kind: Literal["svd", "lightgcn", "none"] = "svd"
    """`svd`: the items' half of a truncated singular value decomposition of users and items. `lightgcn`: trained, as in the source.
    `none`: feedback is not read."""
    width: PositiveInt = 64
    """Width of the vectors, at most; there are no more directions than users and items with feedback."""
    scale: PositiveFloat = 0.1
    """Standard deviation of all numbers of the vectors."""
    lightgcn: LightGCNSettings = LightGCNSettings()


class NetworkSettings(PluginConfig):
    """Encoders of items and bundles."""

    width: PositiveInt = 64
    """Size of the vectors of modalities, items and bundles."""
    tower_hidden: PositiveInt = 256
    """Width between the second and the third layer of the content towers."""
    n_layers: PositiveInt = 1
    """Layers of attention among the items of a bundle."""
    max_items: PositiveInt = 200
    """Items of a bundle that are read: of a larger one random ones in training, those of the highest rows in answering."""
    tie_candidates: bool = False
    """Whether candidates are encoded by the weights that read the bundles' items. The source has two encoders."""
    cold_id: Literal["keep", "content"] = "keep"
    """What stands in the place of the id vector of an item in no train bundle. `keep`: its vector, of which training only learns that it is
    never an answer. `content`: the vector of its content."""
    ref_frozen_bundle_attention: bool = False
    """Whether the attention among the items of a bundle keeps its first weights, as in the code of the source."""


class ItemViewSettings(PluginConfig):
    """Contrast of two views of the items of a batch."""

    kind: Literal["none", "feature-dropout", "feature-noise", "modality-dropout"] = "modality-dropout"
    """`none`: both views are the item's vector. `feature-dropout` and `feature-noise` change that vector; `modality-dropout` hides whole
    modalities before they are fused."""
    rate: float = Field(default=0.2, ge=0, lt=1)
    """Probability that a number, or a modality, is dropped."""
    noise: NonNegativeFloat = 0.02
    """Standard deviation of the noise."""
    temperature: PositiveFloat = 0.5
    """Cosines are divided by it."""
    weight: NonNegativeFloat = 0.1
    """Weight of this loss beside the main one; 0 leaves it out."""


class BundleViewSettings(PluginConfig):
    """Contrast of a bundle with a changed copy of it."""

    kind: Literal["dropout", "replacement"] = "dropout"
    """`dropout`: the copy has some of the bundle's items. `replacement`: random items stand in the place of the others."""
    kept: PositiveFloat = 0.5
    """Share of the items that the copy keeps; at 1 it is the bundle itself, above 1 random items are added."""
    temperature: PositiveFloat = 0.05
    """Cosines are divided by it."""
    weight: NonNegativeFloat = 2.0
    """Weight of this loss beside the main one; 0 leaves it out."""
    ref_mask_bug: bool = False
    """Whether the first item of the catalogue stands in the place of each dropped one, as in the code of the source."""

    @model_validator(mode="after")
    def _the_fault_is_one_of_dropout(self) -> Self:
        if self.ref_mask_bug and (self.kind != "dropout" or self.kept >= _FULL_VIEW):
            raise ValueError(f"ref_mask_bug changes a copy that drops items; kind={self.kind} with kept={self.kept:g} drops none")
        return self


class CLHEConfig(PluginConfig):
    """Content and feedback of items, and bundles of them, to lists."""

    content: ContentSettings = ContentSettings()
    text: TextSettings = TextSettings(fields=("title",))
    categories: CategorySettings = CategorySettings()
    feedback: FeedbackSettings = FeedbackSettings()
    network: NetworkSettings = NetworkSettings()
    item_views: ItemViewSettings = ItemViewSettings()
    bundle_views: BundleViewSettings = BundleViewSettings()
    training: TrainingSettings = TrainingSettings()
    batch_size: PositiveInt = 256
    """Bundles of a batch."""
    target: Literal["full", "rest"] = "full"
    """`full`: a bundle is to predict all of its own items, as published. `rest`: a random part of it, as large as `bundle_views.kept` says,
    is to predict the others."""
    cold_negatives: bool = True
    """Whether items in no train bundle take part in the softmax, where they are never the answer."""

    @model_validator(mode="after")
    def _a_batch_is_whole(self) -> Self:
        if self.training.accumulate > 1:
            raise ValueError(
                f"training.accumulate={self.training.accumulate} would cut a batch, whose bundles are each other's negatives. Choose a "
                "smaller batch_size"
            )
        return self
