"""Settings of BERT4Rec."""

from typing import Literal

from pydantic import Field, PositiveInt

from recbench.core import PluginConfig
from recbench.nn.blocks import EncoderSettings
from recbench.nn.training import TrainingSettings


class NetworkSettings(EncoderSettings):
    """The encoder of histories."""

    max_length: PositiveInt = Field(default=50, ge=2)
    """Slots of the encoder: items of a training example, or of a history with the appended MASK."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """On embeddings, attention weights and the outputs of attention and network, in training."""


class BERT4RecConfig(PluginConfig):
    """Network, hidden items, batches and training loop of BERT4Rec."""

    network: NetworkSettings = NetworkSettings()
    training: TrainingSettings = TrainingSettings()
    mask_rate: float = Field(default=0.2, ge=0, le=1)
    """How likely each item of an example is to be hidden. At least one is: where the draw hides none, the newest."""
    ft_ratio: float = Field(default=0.5, ge=0, le=1)
    """Share of the batches in which the newest item alone is hidden, as in ranking."""
    examples: Literal["tiles", "prefixes"] = "tiles"
    """`tiles`: users' sequences cut into stretches of `network.max_length` items, every item in one. `prefixes`: one example for every
    item, which is its newest; far more passes over long sequences."""
    batch_size: PositiveInt = 256
    """Examples of a batch."""
    batch_order: Literal["random", "bucketed"] = "random"
    """`random`: any examples meet. `bucketed`: examples of like length meet, which pads less but gives each hidden item of a short sequence
    a larger weight."""
