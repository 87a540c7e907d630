"""Settings of the encoder of histories. Imports no torch, so that a plugin's config may hold them."""

from typing import Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from recbench.core.config import PluginConfig


class EncoderSettings(PluginConfig):
    """Sizes of self-attention over histories; a model's own settings inherit them."""

    width: PositiveInt = 64
    """Size of item vectors and of every slot's state."""
    n_layers: NonNegativeInt = 2
    """How many blocks of attention and network."""
    n_heads: PositiveInt = 2
    """Attention heads; must divide the width."""
    hidden: PositiveInt | None = 256
    """Inner width of each block's network; none: the width."""
    max_length: PositiveInt = Field(default=50, ge=2)
    """How many items of the history are read, the newest ones; 50 for short histories, 200 for MovieLens."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """On embeddings, attention weights and the outputs of attention and network, in training."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % self.n_heads:
            raise ValueError(f"width={self.width} is not a multiple of n_heads={self.n_heads}")
        return self
