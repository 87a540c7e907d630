"""Settings of RaMen."""

from typing import Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from recbench.core import PluginConfig
from recbench.nn.text import CategorySettings, ContentSettings, TextSettings
from recbench.nn.training import TrainingSettings


class GraphSettings(PluginConfig):
    """Which items are neighbours."""

    min_users: PositiveInt | None = None
    """Items that fewer users have both used are no neighbours; none: 2, or 1 where the feedback of every user is train bundles and nothing
    else, of which hardly two users share a pair."""
    min_bundles: PositiveInt = 1
    """Items that stand together in fewer bundles of the train part are no neighbours. Read where the data set has no feedback."""
    max_neighbours: PositiveInt = 50
    """The neighbours of an item with the largest counts; of equal counts the smaller item rows."""


class NetworkSettings(PluginConfig):
    """Sizes of the two encoders, and what their parts count for."""

    width: PositiveInt = 64
    """Size of every vector of items and bundles."""
    tower_hidden: PositiveInt = 256
    """Width between the last two layers of the content towers."""
    n_layers: PositiveInt = 1
    """Layers of graph attention."""
    n_heads: PositiveInt = 2
    """Heads of each of them, over which its output is averaged."""
    attention_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout on the weights of the neighbours."""
    residual: NonNegativeFloat = 1.0
    """Share of the graph's first vectors that is added to the mean of its layers."""
    n_hyperedges: PositiveInt = 4
    """Hyperedges of each modality."""
    hyperedge_temperature: PositiveFloat = 0.2
    """Logits of items and bundles over the hyperedges are divided by it."""
    hyperedge_dropout: float = Field(default=0.7, ge=0, lt=1)
    """Dropout on the memberships in hyperedges."""
    mix_bundle: float = Field(default=1.0, ge=0, le=1)
    """Share of the attention over fused items in a bundle's vector; the rest is the mean of the items' graph vectors."""
    mix_item: float = Field(default=1.0, ge=0, le=1)
    """Share of the fused vector in a candidate's vector; the rest is its graph vector."""
    max_items: PositiveInt = 200
    """Items of a bundle that are read, those with the smallest rows. All are targets."""
    ref_gumbel_in_eval: bool = False
    """Draw the memberships with Gumbel noise outside training too, as the published code does: no two rankings are then alike."""
    ref_frozen_bundle_attn: bool = False
    """Leave the attention over a bundle's items at its first weights, as the published code does."""


class LossSettings(PluginConfig):
    """The two contrastive losses beside the main one, which aligns a bundle with its items."""

    item_weight: NonNegativeFloat = 0.1
    """Weight of the loss between a candidate's vector and its hyperedges."""
    bundle_weight: NonNegativeFloat = 0.05
    """Weight of the loss between a bundle's vector and its hyperedges."""
    temperature: PositiveFloat = 0.2
    """Cosines are divided by it."""


class RaMenConfig(PluginConfig):
    """Bundles and content to lists."""

    content: ContentSettings = ContentSettings()
    text: TextSettings = TextSettings(fields=("title",), labels=False, max_tokens=64)
    categories: CategorySettings = CategorySettings()
    graph: GraphSettings = GraphSettings()
    network: NetworkSettings = NetworkSettings()
    loss: LossSettings = LossSettings()
    training: TrainingSettings = TrainingSettings()
    batch_size: PositiveInt = 256
    """Bundles of a step."""

    @model_validator(mode="after")
    def _batches_stay_whole(self) -> Self:
        if self.training.accumulate > 1:
            raise ValueError(
                f"training.accumulate={self.training.accumulate} cuts batches into parts, and the bundles and items of a batch are each "
                "other's negatives; set it to 1 and choose a smaller batch_size"
            )
        return self
