"""Settings of SASRec."""

from typing import Literal, Self

from pydantic import PositiveFloat, PositiveInt, model_validator

from recbench.nn.blocks import EncoderSettings
from recbench.nn.training import BatchUnit, NextItemLossSettings, TrainingSettings


class NetworkSettings(EncoderSettings):
    """The encoder of histories."""

    n_heads: PositiveInt = 1
    """Attention heads; must divide the width."""
    hidden: PositiveInt | None = None
    """Inner width of each block's network; none: the width."""
    norm: Literal["pre", "post", "original", "ligr"] = "pre"
    """Order of a block and place of layer normalisation; `original` is the odd order of the published code, `ligr` the gated block of
    eSASRec (arXiv:2508.06450), whose network is SwiGLU."""
    activation: Literal["relu", "gelu"] = "relu"
    """Activation of each block's network; `ligr` has its own."""
    init: Literal["xavier", "xavier-packed", "normal"] = "xavier"
    """Xavier normal; the same with query, key and value as one matrix; or normal with standard deviation 0.02."""
    embedding_scale: PositiveFloat | Literal["root-width"] = "root-width"
    """Item vectors are multiplied by it at the input; the published code takes the root of the width."""
    embedding_norm: bool = False
    """Normalise the sum of item and position vector."""
    inner_dropout: bool = True
    """Drop numbers of the inner layer of each block's network too."""
    attention_output: bool = False
    """Whether a projection follows the attention heads in the order `original`, whose code has none; the other orders always have it."""
    layer_norm_eps: PositiveFloat = 1e-8
    """Added to the variance in layer normalisations."""

    @model_validator(mode="after")
    def _output_is_a_choice(self) -> Self:
        if self.attention_output and self.norm != "original":
            raise ValueError(f"attention_output=true is for norm=original; norm={self.norm} has an output projection anyway")
        return self


class SASRecConfig(NextItemLossSettings):
    """Network, loss, batches and training loop of SASRec."""

    network: NetworkSettings = NetworkSettings()
    training: TrainingSettings = TrainingSettings()
    batch_size: PositiveInt = 128
    """How much a batch holds at most, in the unit of `batch_unit`."""
    batch_unit: BatchUnit = "sequences"
    """`targets` gives each (history, target) pair about the same weight, whatever the length of its sequence."""
    batch_order: Literal["bucketed", "random"] = "bucketed"
    """`bucketed`: sequences of like length meet, which saves padding. `random`: any sequences meet; a batch of so many sequences then gives
    every target the same weight, as most published code does."""
    windows: Literal["all", "newest"] = "all"
    """What of a user longer than `network.max_length` is trained: all events in overlapping windows, or the newest ones alone."""
