"""Clock of a training: what a budget of time still allows, and whether a checkpoint or a stop is due."""

import time
from dataclasses import dataclass

import numpy as np

from recbench.core.budget import Budget
from recbench.core.elapsed import NO_TIME, Elapsed
from recbench.core.plugin import World
from recbench.nn.compute.distributed import sum_over_ranks

_CHOICE_SHARE = 0.25
"""Largest share of a budget that ranking all validation users at the end may take; without it the best by the subset counts."""
_EARLY_VALIDATION = 0.1
"""Share of a budget of time after which a first validation shows what ranking costs."""
_STEP_MARGIN, _VALIDATION_MARGIN = 2.0, 1.25
"""A step is begun only where this many times a step and a validation fit: the last weights must still be validated, or else the
time since the last validation was wasted."""
_TOLERANCE = 0.8
"""A validation is begun where this share of the time of the last one is left."""


@dataclass(frozen=True)
class Moment:
    """Reading of rank 0's clock and of all ranks' signals; equal on every rank, so that all decide alike."""

    seconds: float
    """Seconds of training, earlier attempts included."""
    cpu_seconds: float
    """The same in processor time, of rank 0."""
    time_share: float
    """How much of a budget of time is used up, 0 to 1, earlier attempts included; 0 without such a budget."""
    fits_step: bool
    """Whether a step, and the validation that must follow it, still fit into the budget."""
    fits_validation: bool
    fits_choice: bool
    """Whether there is time to rank the candidates again over all users."""
    is_early_validation_due: bool
    is_checkpoint_due: bool
    is_stopped: bool
    """Whether any rank received a signal."""


class Clock:
    """Measures steps and validations, and says what there is still time for.

    Args:
        budget: what is asked.
        world: who must agree.
        checkpoint_every_s: seconds between two checkpoints.
        before: time that earlier attempts trained.
        before_share: share of a budget of time that they used up.
    """

    def __init__(
        self, budget: Budget, world: World, checkpoint_every_s: float, *, before: Elapsed = NO_TIME, before_share: float = 0.0
    ) -> None:
        self._budget, self._world = budget, world
        self._checkpoint_every_s = checkpoint_every_s
        self._before, self._before_share = before, before_share
        self._start, self._budget_start, self._last_checkpoint = Elapsed.now(), budget.now(), time.monotonic()
        self._n_steps = 0
        self.steps_s = 0.0
        """Seconds of all steps, as the budget counts them."""
        self._validation_s = self._choice_s = 0.0
        self._may_choose = True
        self._has_validated = False

    def step_took(self, seconds: float) -> None:
        """A step is done; all durations are as the budget counts seconds."""
        self._n_steps += 1
        self.steps_s += seconds

    def validation_took(self, seconds: float, choice_s: float) -> None:
        """A validation is done; the choice at the end will take `choice_s`, which is kept back where that leaves most for training."""
        self._may_choose = not self._budget.is_timed or choice_s <= _CHOICE_SHARE * self._budget.amount
        self._validation_s, self._choice_s = seconds, choice_s if self._may_choose else 0.0
        self._has_validated = True

    def checkpoint_written(self) -> None:
        """The time to the next checkpoint starts now."""
        self._last_checkpoint = time.monotonic()

    def now(self, *, has_signal: bool) -> Moment:
        """The present moment; under torchrun all ranks must ask together."""
        values = np.zeros(9, dtype=np.float64)
        if self._world.rank == 0:
            trained = self._before + (Elapsed.now() - self._start)
            here_s = self._budget.now() - self._budget_start
            left_s = self._budget.seconds_left() - self._choice_s
            share_here = 0.0
            if self._budget.is_timed:
                share_here = here_s / (here_s + left_s) if left_s > 0 else 1.0
            is_early = self._budget.is_timed and not self._has_validated and share_here >= _EARLY_VALIDATION
            values[:8] = [
                trained.seconds,
                trained.cpu_seconds,
                self._before_share + (1.0 - self._before_share) * share_here,
                left_s > _STEP_MARGIN * self.steps_s / max(self._n_steps, 1) + _VALIDATION_MARGIN * self._validation_s,
                left_s > _TOLERANCE * self._validation_s,
                left_s > 0 and self._may_choose,
                is_early and self._n_steps > 0,
                time.monotonic() - self._last_checkpoint >= self._checkpoint_every_s,
            ]
        values[8] = has_signal
        values = sum_over_ranks(values, self._world)
        seconds, cpu_seconds, time_share, *flags = values.tolist()
        return Moment(seconds, cpu_seconds, time_share, *map(bool, flags))
