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
    """Number of stacked recurrent layers."""
    max_length: PositiveInt = Field(default=50, ge=2)
    """Number of newest items of the history that are read."""
    dropout: float = Field(default=0.3, ge=0, lt=1)
    """Dropout on the input item vectors."""


class GRU4RecConfig(PluginConfig):
    """Network, batches and training loop of GRU4Rec."""

    network: NetworkSettings = NetworkSettings()
    training: TrainingSettings = TrainingSettings()
    batch_targets: PositiveInt = 2048
    """Most targets of a batch, which holds at least one sequence."""
