"""What a training must remember besides tensors."""

from dataclasses import dataclass, field

from pydantic import TypeAdapter

from recbench.core.plugin import CurvePoint


@dataclass
class Candidate:
    """Weights that may be chosen: the step and what validation said."""

    step: int
    value: float


@dataclass
class State:
    """Where a training stands: all that a later step depends on besides weights and optimiser."""

    step: int = 0
    epoch: int = 0
    batches_done: int = 0
    """Of the current epoch."""
    examples: int = 0
    epoch_examples: int = 0
    seconds: float = 0.0
    """Of this attempt and those before it."""
    time_share: float = 0.0
    """Share of a budget of seconds that is used up."""
    warm_at: float | None = None
    """Progress when the warm-up ended."""
    warm_step: int = 0
    """Steps that it took."""
    loss_sum: float = 0.0
    loss_targets: int = 0
    """Since the last point of the curve."""
    learning_rate: float = 0.0
    """Of the last step."""
    validation_due: bool = False
    validated_at: int = 0
    without_gain: int = 0
    """Validations since the best one."""
    is_subset: bool = False
    candidates: list[Candidate] = field(default_factory=list)
    """Best first."""
    curve: list[CurvePoint] = field(default_factory=list)
    stopped_by: str | None = None


STATE = TypeAdapter(State)
"""Turns a state into JSON values and back."""
