"""Settings of S3-Rec."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from recbench.core import PluginConfig
from recbench.nn.blocks import EncoderSettings
from recbench.nn.text import AttributeFields
from recbench.nn.training import TrainingSettings


class PretrainSettings(PluginConfig):
    """The first training: what is hidden, and how much each task counts. Optimiser and rate are those of the second one."""

    epochs: NonNegativeInt = 150
    """Passes over the examples; 0 leaves pre-training out."""
    max_steps: PositiveInt | None = None
    """Optimiser steps; None: as many as `epochs` hold."""
    examples: Literal["prefixes", "one-per-user"] = "prefixes"
    """`prefixes`: every beginning of each user's newest `network.max_length` items. `one-per-user`: in each epoch a random one of these."""
    batch_size: PositiveInt = 100
    """Examples of a batch."""
    batch_order: Literal["random", "bucketed"] = "random"
    """`random`: any examples meet. `bucketed`: examples of like length meet, which pads less."""
    mask_rate: float = Field(default=0.2, ge=0, le=1)
    """How likely each item but the newest is to be hidden; the newest always is."""
    attribute_weight: NonNegativeFloat = 0.2
    """Weight of naming the attributes of items that are seen."""
    item_weight: NonNegativeFloat = 1.0
    """Weight of telling hidden items from others."""
    hidden_attribute_weight: NonNegativeFloat = 1.0
    """Weight of naming the attributes of hidden items."""
    segment_weight: NonNegativeFloat = 0.5
    """Weight of telling a hidden segment from a foreign one."""
    pair_loss: Literal["sigmoid", "logit"] = "sigmoid"
    """How true and false are compared. `sigmoid`: by the difference of two probabilities, as published; its loss ends at 0.313. `logit`: by
    the difference of the scores."""
    budget_share: float = Field(default=0.5, gt=0, lt=1)
    """Largest share of the training budget that pre-training may spend; what it leaves belongs to fine-tuning."""

    def training(self, finetuning: TrainingSettings) -> TrainingSettings:
        """Settings of the loop: those of fine-tuning, but for where they end it."""
        ends = {"max_epochs": max(self.epochs, 1), "max_steps": self.max_steps, "steps_per_epoch": None, "examples_per_epoch": None}
        return finetuning.model_copy(update=ends)


class S3RecConfig(PluginConfig):
    """Network, attributes, pre-training, and fine-tuning: batches and training loop."""

    network: EncoderSettings = EncoderSettings()
    attributes: AttributeFields = AttributeFields()
    pretrain: PretrainSettings = PretrainSettings()
    training: TrainingSettings = TrainingSettings()
    batch_size: PositiveInt = 256
    """Sequences of a batch in fine-tuning."""
    batch_order: Literal["random", "bucketed"] = "random"
    """Which sequences meet in a batch of fine-tuning."""
