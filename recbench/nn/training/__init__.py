"""The training loop with what it needs: settings, examples, losses, checkpoints, several processes."""

from typing import TYPE_CHECKING

from recbench.nn.on_demand import on_demand

if TYPE_CHECKING:
    from recbench.nn.training.batch import Batch, Sharded
    from recbench.nn.training.distributed import gather_rows
    from recbench.nn.training.loop import train
    from recbench.nn.training.losses import binary_cross_entropy, full_cross_entropy, generalised_binary_cross_entropy, sampled_softmax
    from recbench.nn.training.optimizer import count_parameters
    from recbench.nn.training.settings import Schedule, TrainingSettings
    from recbench.nn.training.sharding import gathered, is_sharded, shard_weights, whole
    from recbench.nn.training.windows import Windows, length_bucketed
else:
    __getattr__ = on_demand(__name__)

__all__ = [
    "Batch", "Schedule", "Sharded", "TrainingSettings", "Windows", "binary_cross_entropy", "count_parameters", "full_cross_entropy",
    "gather_rows", "gathered", "generalised_binary_cross_entropy", "is_sharded", "length_bucketed", "sampled_softmax", "shard_weights",
    "train", "whole",
]  # fmt: skip
