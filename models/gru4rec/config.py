"""Settings of GRU4Rec."""

from pydantic import Field, PositiveInt

from recbench.core import PluginConfig
from recbench.nn.training import TrainingSettings


class NetworkSettings(PluginConfig):
    """The encoder of histories."""

    width: PositiveInt = 64
    """Size of item vectors."""
    hidden: PositiveInt = 128
    """Size of the recurrent state."""
    n_layers: PositiveInt = 1
    """How many recurrent layers, one on top of the other."""
    max_length: PositiveInt = Field(default=50, ge=2)
    """How many items of the history are read, the newest ones."""
    dropout: float = Field(default=0.3, ge=0, lt=1)
    """On the item vectors that are read, in training."""


class GRU4RecConfig(PluginConfig):
    """Network, batches and training loop of GRU4Rec."""

    network: NetworkSettings = NetworkSettings()
    training: TrainingSettings = TrainingSettings()
    batch_targets: PositiveInt = 2048
    """How many targets a batch holds at most; one sequence at least is in it."""
