"""The training loop with what it needs: settings, examples, losses, checkpoints, several processes."""

from typing import TYPE_CHECKING

from recbench.core.on_demand import on_demand

if TYPE_CHECKING:
    from recbench.nn.training.batch import Batch, Sharded
    from recbench.nn.training.determinism import torch_seeded
    from recbench.nn.training.loop import train
    from recbench.nn.training.losses import (
        binary_cross_entropy,
        full_cross_entropy,
        generalised_binary_cross_entropy,
        sampled_cross_entropy,
        sampled_softmax,
    )
    from recbench.nn.training.negatives import UnseenNegatives
    from recbench.nn.training.next_item_loss import NextItemLoss, logit_vectors
    from recbench.nn.training.next_item_settings import NextItemLossSettings
    from recbench.nn.training.next_item_training import NextItemTraining, SlotTraining, train_next_items
    from recbench.nn.training.optimizer import count_parameters
    from recbench.nn.training.reports import joined
    from recbench.nn.training.settings import Schedule, TrainingSettings
    from recbench.nn.training.sharding import gathered, is_sharded, shard_weights, whole
    from recbench.nn.training.stretches import Stretches
    from recbench.nn.training.windows import BatchUnit, Windows, in_random_order, length_bucketed
else:
    __getattr__ = on_demand(__name__)

__all__ = [
    "Batch", "BatchUnit", "NextItemLoss", "NextItemLossSettings", "NextItemTraining", "Schedule", "Sharded", "SlotTraining",
    "Stretches", "TrainingSettings", "UnseenNegatives", "Windows", "binary_cross_entropy", "count_parameters", "full_cross_entropy",
    "gathered", "generalised_binary_cross_entropy", "in_random_order", "is_sharded", "joined", "length_bucketed",
    "logit_vectors", "sampled_cross_entropy", "sampled_softmax", "shard_weights", "torch_seeded", "train",
    "train_next_items", "whole",
]  # fmt: skip
