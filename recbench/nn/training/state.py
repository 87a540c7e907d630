"""State of a training besides tensors."""

from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import TypeAdapter

from recbench.core.plugin import CurvePoint
from recbench.nn.training.settings import TrainingSettings, rate_factor


@dataclass
class Candidate:
    """Weights that may be chosen: the step and what validation said."""

    step: int
    value: float


@dataclass
class State:
    """Point that a training has reached: all that a later step depends on besides weights and optimiser."""

    step: int = 0
    epoch: int = 0
    batches_done: int = 0
    """Batches done of the current epoch."""
    examples: int = 0
    epoch_examples: int = 0
    seconds: float = 0.0
    """Seconds of this attempt and those before it."""
    cpu_seconds: float = 0.0
    """The same in processor time."""
    time_share: float = 0.0
    """Share of a budget of time that is used up."""
    warm_at: float | None = None
    """Progress when the warm-up ended."""
    warm_step: int = 0
    """Steps that it took."""
    loss_sum: float = 0.0
    loss_targets: int = 0
    """Since the last point of the curve."""
    learning_rate: float = 0.0
    """Learning rate of the last step."""
    validation_due: bool = False
    validated_at: int = 0
    without_gain: int = 0
    """Validations since the best one."""
    is_subset: bool = False
    metric: str = ""
    """What validation chooses by."""
    candidates: list[Candidate] = field(default_factory=list)
    """Best first."""
    curve: list[CurvePoint] = field(default_factory=list)
    stopped_by: str | None = None

    def rate_factor(self, settings: TrainingSettings, progress: float, steps_left: Callable[[], float]) -> float:
        """Share of the learning rate to use for the next step; remembers when the warm-up ended.

        Args:
            settings: of the training.
            progress: how much of it is done, 0 to 1.
            steps_left: how many steps are to come, asked before the first one.
        """
        share = settings.warmup_share
        if self.warm_at is None and (progress >= share if share else self.step >= settings.warmup_steps):
            self.warm_at, self.warm_step = progress, self.step
        if share and self.warm_at is None:
            # What is done after this step, which takes as much of the training as those before it did.
            of_step = progress / self.step if self.step else 1.0 / steps_left()
            return min((progress + of_step) / share, 1.0)
        warm_at = self.warm_at or 0.0
        decayed = (progress - warm_at) / (1.0 - warm_at) if warm_at < 1.0 else 1.0
        warmup_steps = self.warm_step if share else settings.warmup_steps
        return rate_factor(settings.schedule, step=self.step, warmup_steps=warmup_steps, decayed=max(decayed, 0.0))


STATE = TypeAdapter(State)
"""Turns a state into JSON values and back."""
