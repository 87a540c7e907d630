"""Settings of SASRec."""

from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from recbench.core import PluginConfig
from recbench.nn.training import TrainingSettings


class NetworkSettings(PluginConfig):
    """The encoder of histories."""

    width: PositiveInt = 64
    """Size of item vectors and of every slot's state."""
    n_layers: NonNegativeInt = 2
    """How many blocks of attention and network."""
    n_heads: PositiveInt = 1
    """Attention heads; must divide the width."""
    hidden: PositiveInt | None = None
    """Inner width of each block's network; none: the width."""
    max_length: PositiveInt = Field(default=50, ge=2)
    """How many items of the history are read, the newest ones; 50 for short histories, 200 for MovieLens."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """On embeddings, attention weights and the outputs of attention and network, in training."""
    norm: Literal["pre", "post", "original"] = "pre"
    """Place of layer normalisation; `original` is the odd order of the published code."""
    activation: Literal["relu", "gelu"] = "relu"
    """Activation of each block's network."""
    init: Literal["xavier", "normal"] = "xavier"
    """Xavier normal, or normal with standard deviation 0.02."""
    embedding_scale: PositiveFloat | Literal["root-width"] = "root-width"
    """Item vectors are multiplied by it at the input; the published code takes the root of the width."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % self.n_heads:
            raise ValueError(f"width={self.width} is not a multiple of n_heads={self.n_heads}")
        return self


class SASRecConfig(PluginConfig):
    """Network, loss, batches and training loop of SASRec."""

    network: NetworkSettings = NetworkSettings()
    training: TrainingSettings = TrainingSettings()
    loss: Literal["bce", "ce", "gbce", "ssm"] = "bce"
    """`bce`: one sampled negative per target, as published. `ce`: softmax over all items. `gbce`: calibrated sampled loss of
    arXiv:2308.07192. `ssm`: softmax over sampled items."""
    n_negatives: PositiveInt = 256
    """How many negatives `gbce` draws per target, and `ssm` per sequence; `bce` draws one, `ce` none."""
    calibration: float = Field(default=0.75, ge=0, le=1)
    """`t` of `gbce`: 0 leaves the probabilities overconfident, 1 corrects them wholly."""
    batch_size: PositiveInt = 128
    """How much a batch holds at most, in the unit of `batch_unit`."""
    batch_unit: Literal["sequences", "targets"] = "sequences"
    """`targets` gives each (history, target) pair about the same weight, whatever the length of its sequence."""
