"""Settings of HSTU."""

from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from recbench.core import PluginConfig
from recbench.nn.training import BatchUnit, NextItemLossSettings, TrainingSettings


class NetworkSettings(PluginConfig):
    """The encoder of histories."""

    width: PositiveInt = 64
    """Size of item vectors and of every slot's state."""
    n_layers: NonNegativeInt = 4
    """Number of layers."""
    n_heads: PositiveInt = 4
    """Attention heads."""
    head_width: PositiveInt = 16
    """Size of each head's queries, keys, values and gates."""
    max_length: PositiveInt = Field(default=50, ge=2)
    """Number of newest items of the history that are read; also the divisor of the attention weights."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Dropout on embeddings and on each layer's gated values."""
    time_bias: Literal["own", "none"] = "own"
    """`own`: attention weights depend on the time between the two events, which the data set must know. `none`: on order alone."""

    @field_validator("time_bias", mode="before")
    @classmethod
    def _cannot_see_the_target(cls, value: Any) -> Any:
        if value == "target":
            raise ValueError(
                "the published code also reads the time of the target, which queries do not carry, because no other model is given it; "
                "choose own or none"
            )
        return value


class HSTUConfig(NextItemLossSettings):
    """Network, loss, batches and training loop of HSTU; the loss by default is the published one, on cosines."""

    network: NetworkSettings = NetworkSettings()
    training: TrainingSettings = TrainingSettings()
    loss: Literal["bce", "ce", "gbce", "ssm"] = "ssm"
    """`ssm`: softmax over the target and sampled items, as published. `ce`: softmax over all items. `bce` and `gbce` as in sasrec."""
    negatives_from: Literal["auto", "unseen", "all"] = "all"
    """`all`: any item, the target and the user's own included. `unseen`: items that the user does not have in the train part. `auto`: as
    in sasrec."""
    negatives_per: Literal["auto", "slot", "sequence", "batch"] = "slot"
    """What negatives are drawn anew for: every target, a sequence, or a batch. `auto`: as in sasrec."""
    mask_hits: bool = True
    """Leave out a negative that is the target."""
    normalise: bool = True
    """Score by the cosine of state and item vector, in training and in ranking."""
    temperature: PositiveFloat = 0.05
    """Scores are divided by it."""
    batch_size: PositiveInt = 128
    """How much a batch holds at most, in the unit of `batch_unit`."""
    batch_unit: BatchUnit = "sequences"
    """`targets` gives each (history, target) pair about the same weight, whatever the length of its sequence."""
    batch_order: Literal["bucketed", "random"] = "random"
    """`bucketed`: sequences of like length meet, which saves padding. `random`: any sequences meet."""
    windows: Literal["all", "newest"] = "newest"
    """What of a user longer than `network.max_length` is trained: all events in overlapping windows, or the newest ones alone."""
