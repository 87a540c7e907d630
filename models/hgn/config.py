"""Settings of HGN."""

from typing import Literal

from pydantic import PositiveInt

from recbench.core import PluginConfig
from recbench.nn.training import TrainingSettings


class NetworkSettings(PluginConfig):
    """Tables and gates."""

    width: PositiveInt = 50
    """Size of the vectors of users and items."""
    max_length: PositiveInt = 5
    """Number of newest items of the history that are read."""


class HGNConfig(PluginConfig):
    """Network, loss, batches and training loop of HGN."""

    network: NetworkSettings = NetworkSettings()
    training: TrainingSettings = TrainingSettings()
    loss: Literal["ce", "bpr"] = "ce"
    """`ce`: softmax over all items. `bpr`: the target is to score higher than items that the user does not have, as published."""
    n_negatives: PositiveInt = 3
    """Number of negatives per target with `bpr`."""
    batch_size: PositiveInt = 4096
    """Most (prefix, next item) pairs of a batch."""
