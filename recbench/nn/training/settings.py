"""Settings of the training loop. Imports no torch, so that a plugin's config may hold them."""

import math
from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from recbench.core.budget import Budget
from recbench.core.config import PluginConfig

Schedule = Literal["constant", "cosine", "linear", "inverse_sqrt"]


class TrainingSettings(PluginConfig):
    """How a module is trained."""

    optimizer: Literal["adamw", "adam"] = "adamw"
    """`adamw` decays weights apart from the gradient; `adam` adds the decay to the gradient (L2)."""
    learning_rate: PositiveFloat = 1e-3
    """The highest rate, reached after the warm-up."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of Adam's two running means."""
    epsilon: PositiveFloat = 1e-8
    """Added to the root of Adam's second mean."""
    weight_decay: NonNegativeFloat = 0.0
    """Strength of the weight decay."""
    decay_on: Literal["matrices", "all"] = "matrices"
    """`matrices`: no decay on biases, norms and embeddings (rare items would forget what they learnt). `all`: on every parameter."""
    schedule: Schedule = "constant"
    """How the rate falls after the warm-up, towards zero at the end of training; `inverse_sqrt` falls with the root of the step."""
    warmup_steps: NonNegativeInt = 0
    """Steps over which the rate rises in a straight line."""
    warmup_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the training over which the rate rises, in place of `warmup_steps`: of its steps, or of its budget where that ends it."""
    clip_norm: PositiveFloat | None = None
    """Longest gradient, as a norm over all parameters; None: any length."""
    accumulate: PositiveInt = 1
    """Work each batch through in so many parts, to save memory. The gradient is that of the whole batch."""
    max_steps: PositiveInt | None = None
    """Optimiser steps; None: as many as `max_epochs` hold."""
    max_epochs: PositiveInt = 100
    """Passes over the training examples."""
    steps_per_epoch: PositiveInt | None = None
    """End an epoch after so many steps, even where examples are left."""
    examples_per_epoch: PositiveInt | None = None
    """End an epoch with the step that reaches so many targets."""
    validate_every_epochs: PositiveInt = 1
    """Validate after every so many epochs."""
    validate_every_steps: PositiveInt | None = None
    """Validate after every so many steps instead."""
    patience: PositiveInt | None = None
    """Stop after so many validations in a row without a better one; None: never."""
    checkpoint_every_s: NonNegativeFloat = 300.0
    """Seconds between two checkpoints."""
    curve_every_steps: PositiveInt = Field(default=50)
    """Steps between two points of the loss curve; every validation is a point too."""

    def longest(self, budget: Budget) -> tuple[float, float]:
        """Most epochs and most steps; infinite where the budget says how long a training lasts, or nothing does."""
        return (math.inf, math.inf) if budget.sets_length else (self.max_epochs, self.max_steps or math.inf)

    def validations_without_gain(self, budget: Budget) -> float:
        """So many in a row end the training; infinite where nothing does, or the budget says how long it lasts.

        Validations of small data sets are a few steps apart, and the last falls of the rate are worth waiting for.
        """
        return math.inf if budget.sets_length or self.patience is None else self.patience

    @model_validator(mode="after")
    def _warmup_is_said_once(self) -> Self:
        if self.warmup_steps and self.warmup_share:
            raise ValueError(
                f"warmup_steps={self.warmup_steps} and warmup_share={self.warmup_share} say how long the warm-up is; set one of them to 0"
            )
        return self

    @model_validator(mode="after")
    def _betas_are_shares(self) -> Self:
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas={self.betas} must lie in [0, 1)")
        return self


def rate_factor(schedule: Schedule, *, step: int, warmup_steps: int, decayed: float) -> float:
    """Share of the learning rate to use for one step, in [0, 1].

    Args:
        schedule: shape of the fall after the warm-up.
        step: steps done before this one.
        warmup_steps: step `warmup_steps - 1` is the first at the full rate.
        decayed: how much of the training that follows the warm-up is done, 0 to 1.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "linear":
        return 1.0 - decayed
    if schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * decayed))
    if schedule == "inverse_sqrt":
        # arXiv:1910.10683, section 3.1.2, scaled so that the warm-up ends at the full rate.
        return math.sqrt(max(warmup_steps, 1) / (step + 1))
    return 1.0
