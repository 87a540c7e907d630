"""Settings of P5."""

from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from recbench.core import PluginConfig
from recbench.nn.blocks import Seq2SeqSettings
from recbench.nn.text import AttributeFields
from recbench.nn.training import TrainingSettings


class ClusterSettings(PluginConfig):
    """The tree of clusters of `cid`."""

    n_clusters: int = Field(default=20, ge=2)
    """Clusters that the items of a node are divided into; items that nobody has together with another one of the node are one more."""
    token_size: PositiveInt = 500
    """Most items of a cluster that is divided no further, and how many tokens all levels share."""

    @model_validator(mode="after")
    def _siblings_have_different_tokens(self) -> Self:
        if self.token_size <= self.n_clusters:
            raise ValueError(f"token_size={self.token_size} must be above n_clusters={self.n_clusters}, for siblings to differ")
        return self


class CategorySettings(AttributeFields):
    """Which column holds the path of categories that `semid` reads."""

    fields: tuple[str, ...] = Field(default=("categories",), min_length=1, max_length=1)
    """Column of the item table."""
    optional_fields: tuple[str, ...] = ()
    """Of no effect: IDs of categories need categories."""


class IndexingSettings(PluginConfig):
    """How items get their IDs."""

    method: Literal["sid", "cid", "semid", "random", "independent"] = "cid"
    """`sid`: numbered in the order in which users have them. `cid`: clusters of items that users have together. `semid`: categories.
    `random`: random numbers. `independent`: a token per item."""
    seed: NonNegativeInt = 0
    """Of all random order; its own, so that runs of other seeds have the same IDs."""
    base: int = Field(default=100, ge=2)
    """A number n of `sid` and `random` is two tokens, n div base and n mod base."""
    cid: ClusterSettings = ClusterSettings()
    semid: CategorySettings = CategorySettings()


class P5Config(PluginConfig):
    """Items to IDs, IDs to lists."""

    indexing: IndexingSettings = IndexingSettings()
    generator: Seq2SeqSettings = Seq2SeqSettings(item_places=True)
    training: TrainingSettings = TrainingSettings()
