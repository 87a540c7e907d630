"""A bound on what a run may spend: seconds, processor seconds, optimiser steps or training examples."""

import math
import re
import time
from dataclasses import dataclass, field, replace
from typing import Literal

from recbench.core.elapsed import Elapsed, processor_seconds
from recbench.core.errors import BadConfig

Unit = Literal["seconds", "cpu-seconds", "steps", "examples"]
AUXILIARY_SHARE = 0.25
"""Largest share of a run's budget that all its auxiliary trainings together may spend: other models whose item vectors are
asked for, and trainings inside stages. The rest belongs to the model itself."""
_LARGEST = 1e15
"""No number from here on is a budget; those below are whole where they say so."""
_TIMES: dict[str, tuple[Unit, float]] = {
    "s": ("seconds", 1.0),
    "m": ("seconds", 60.0),
    "h": ("seconds", 3600.0),
    "cpu-s": ("cpu-seconds", 1.0),
    "cpu-min": ("cpu-seconds", 60.0),
    "cpu-h": ("cpu-seconds", 3600.0),
}
"""Units of time as they are written, with what they count and how many seconds one is."""
_MARGIN = 1.25
"""Factor by which a budget said to be enough is larger, for a machine that is somewhat slower the next time."""


@dataclass
class Ledger:
    """Amounts spent or set aside so far; all parts of one budget write into the same ledger.

    Attributes:
        reserve_s: seconds that ranking and evaluating the test users will take.
        charged_s: time, as the budget counts it, of work that this process did not do itself: stages found in the cache and earlier,
            interrupted attempts.
        auxiliary: what auxiliary trainings took, in the unit of the budget.
        steps: optimiser steps done.
        examples: training examples seen.
    """

    reserve_s: float = 0.0
    charged_s: float = 0.0
    auxiliary: float = 0.0
    steps: int = 0
    examples: int = 0


@dataclass(frozen=True)
class Budget:
    """How much a run may spend, and how much of it is left.

    A budget of seconds covers the whole run: reading the data, every stage, all trainings, the final ranking. Work that is found in
    the cache is charged with what it cost when it was computed, so that cache luck does not buy training time. A budget of processor
    seconds covers what is the model's own: its training, auxiliary trainings and all stages that not every model shares. Reading and
    dividing the data and the final ranking are not in it: how long a model takes to answer is another figure. Other work on the machine
    leaves it as it is. A budget of steps or examples covers all trainings of the run. Only the references beside the result (see
    `recbench.running.run.references`) are free.

    Attributes:
        unit: what is counted; None: unlimited.
        amount: how much of it.
        started_at: when the run began, as `now` counts.
        ledger: what was spent so far.
        is_auxiliary: bounds an auxiliary training, which no ranking follows.
        share: of the run's budget that this one is; less than `AUXILIARY_SHARE` where further auxiliary trainings follow.
        is_part: bounds the first of several trainings of one model, which the settings may end sooner.
        whole: of an auxiliary budget the run's, for which a stop must not buy time either.
    """

    unit: Unit | None = None
    amount: float = 0.0
    started_at: float = field(default_factory=time.monotonic)
    ledger: Ledger = field(default_factory=Ledger)
    is_auxiliary: bool = False
    share: float = 1.0
    is_part: bool = False
    whole: "Budget | None" = field(default=None, repr=False, compare=False)

    @classmethod
    def parse(cls, text: str | None, started_at: float | None = None) -> "Budget":
        """Read `90s`, `20m`, `1.5h`, `10cpu-min`, `5000steps` or `1000000examples`; None is unlimited.

        Args:
            text: what is written.
            started_at: `time.monotonic()` from which seconds count; None: now. Processor seconds count from now, or see `from_now`.
        """
        start = time.monotonic() if started_at is None else started_at
        if text is None:
            return cls(started_at=start)
        # From Python a number may come; it names no unit.
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|m|h|cpu-s|cpu-min|cpu-h|steps|examples)\s*", str(text), re.ASCII)
        if match is None or not 0 < float(match[1]) < _LARGEST:
            raise BadConfig(
                f"--budget {text!r} is not understood. Write seconds, minutes, hours, steps or examples, such as 90s, 20m, 5000steps, or "
                "processor time, such as 10cpu-min."
            )
        number, unit = float(match[1]), match[2]
        if unit in _TIMES:
            counted, factor = _TIMES[unit]
            return cls(counted, number * factor, start if counted == "seconds" else processor_seconds())
        if not number.is_integer():
            raise BadConfig(f"--budget {text!r}: there are only whole {unit}. Write a whole number, such as {math.ceil(number)}{unit}.")
        return cls("steps" if unit == "steps" else "examples", number, start)

    def __str__(self) -> str:
        return "unlimited" if self.unit is None else f"{self.amount:g} {self.unit.replace('cpu-', 'processor ')}"

    @property
    def text(self) -> str | None:
        """As `parse` reads it, in one way for equal budgets: `15m` for 900 seconds; None where it is unlimited."""
        if self.unit is None:
            return None
        if not self.is_timed:
            return f"{self.amount:.15g}{self.unit}"
        units = [(unit, factor) for unit, (counted, factor) in reversed(_TIMES.items()) if counted == self.unit]
        unit, factor = next(((unit, factor) for unit, factor in units if self.amount % factor == 0), units[-1])
        return f"{self.amount / factor:.15g}{unit}"

    @property
    def sets_length(self) -> bool:
        """Whether it takes the place of the epochs, steps and patience in the settings, which fit one data set.

        Processor time is what a run is given, not what it may at most take: a training ends with it.
        """
        return self.unit == "cpu-seconds" and not self.is_auxiliary and not self.is_part

    @property
    def is_timed(self) -> bool:
        """Whether it counts time, on the clock or of the processor."""
        return self.unit in ("seconds", "cpu-seconds")

    def now(self) -> float:
        """The present moment on the clock that this budget counts on, in seconds."""
        return processor_seconds() if self.unit == "cpu-seconds" else time.monotonic()

    def from_now(self) -> "Budget":
        """A budget of processor time that begins here, behind what all models share; any other as it is."""
        return replace(self, started_at=self.now()) if self.unit == "cpu-seconds" else self

    def enough(self, seconds: float) -> str:
        """The option `--budget` for a run that needs so many seconds as this budget counts them."""
        return f"--budget {math.ceil(seconds * _MARGIN / 10) * 10}{'s' if self.unit == 'seconds' else 'cpu-s'}"

    @property
    def kept_back_s(self) -> float:
        """Seconds that training must leave to the ranking of the test users."""
        return 0.0 if self.unit == "cpu-seconds" else self.ledger.reserve_s

    @property
    def limit(self) -> float:
        """Steps or examples that the model's own training may take: the amount without what auxiliary trainings took."""
        return max(self.amount - self.ledger.auxiliary, 0.0)

    def used_s(self) -> float:
        """Seconds used so far, charged ones included, those set aside not."""
        return self.now() - self.started_at + self.ledger.charged_s

    def seconds_left(self) -> float:
        """Seconds that training may still use; infinite where the budget does not count time."""
        if not self.is_timed:
            return float("inf")
        return self.amount - self.kept_back_s - self.used_s()

    def used_up_before(self) -> str:
        """The complaint of a training that made no step: what used the budget up before, and how much is needed at least."""
        if self.unit is None:
            return "made no step, and no budget bounds it. Look at the settings, such as max_steps and max_epochs."
        took = f"auxiliary trainings took {self.ledger.auxiliary:g} of them"
        least = f"--budget {math.ceil((self.ledger.auxiliary + 1) / self.share)}{self.unit}"
        if self.is_timed:
            took, least = self.spending(), self.enough((self.used_s() + self.kept_back_s) / self.share)
        by = f"auxiliary trainings may spend {AUXILIARY_SHARE:.0%} of a run's" if self.is_auxiliary else took
        return f"made no step: the budget of {self} was used up before ({by}). Give at least {least}, more for a whole pass."

    def spending(self) -> str:
        """Seconds used so far and those kept back, as a phrase."""
        used = f"{self.used_s():.0f} s are used"
        return used if self.unit == "cpu-seconds" else f"{used}, {self.kept_back_s:.0f} s are kept for ranking the test users"

    def part(self, share: float) -> "Budget":
        """A share, 0 to 1, of what is left now: for the first of several trainings of one model."""
        if not self.is_timed:
            return replace(self, amount=share * self.limit + self.ledger.auxiliary, is_part=True)
        return replace(self, amount=self.used_s() + self.kept_back_s + share * max(self.seconds_left(), 0.0), is_part=True)

    def without(self, *, steps: int, examples: int) -> "Budget":
        """The budget that a training of so many steps and examples leaves; seconds pass by themselves."""
        return replace(self, amount=self.amount - {"steps": steps, "examples": examples}.get(self.unit or "", 0))

    def is_spent(self, *, steps: int, examples: int) -> bool:
        """Whether training must stop now, after so many steps and examples."""
        if self.is_timed:
            return self.seconds_left() <= 0
        if self.unit is None:
            return False
        return {"steps": steps, "examples": examples}[self.unit] >= self.limit

    def auxiliary(self, trainings_left: int = 0) -> "Budget":
        """The budget of the next auxiliary training: the rest of `AUXILIARY_SHARE`; unlimited where this budget is.

        It has a clock and a ledger of its own. Report it with `charge_auxiliary` when the training is done.

        Args:
            trainings_left: how many auxiliary trainings follow. Each gets an equal part of the rest, and what one leaves goes to them.
        """
        if self.unit is None:
            return Budget(is_auxiliary=True, whole=self)
        left = max(AUXILIARY_SHARE * self.amount - self.ledger.auxiliary, 0.0) / (1 + trainings_left)
        amount, share = left if self.is_timed else float(int(left)), AUXILIARY_SHARE / (1 + trainings_left)
        return Budget(self.unit, amount, self.now(), is_auxiliary=True, share=share, whole=self)

    def auxiliary_text(self, trainings_left: int = 0) -> str | None:
        """The part of an auxiliary training in what all of them together may spend, for its stage key; None where it is unlimited."""
        return replace(self, amount=AUXILIARY_SHARE * self.amount / (1 + trainings_left)).text

    def charge_auxiliary(self, took: Elapsed, *, steps: int, examples: int) -> None:
        """An auxiliary training took this much, now or when its cached result was computed."""
        spent = {"seconds": took.seconds, "cpu-seconds": took.cpu_seconds, "steps": steps, "examples": examples}
        self.ledger.auxiliary += spent.get(self.unit or "", 0.0)

    def charge(self, took: Elapsed) -> None:
        """Count work that was done before this process began: a stage found in the cache."""
        self.ledger.charged_s += took.cpu_seconds if self.unit == "cpu-seconds" else took.seconds

    def excuse(self, took: Elapsed) -> None:
        """Leave out processor time of something that is no part of the run. On the clock it counts, on which the user waits for it."""
        if self.unit == "cpu-seconds":
            self.ledger.charged_s -= took.cpu_seconds

    def charge_attempt(self, took: Elapsed) -> None:
        """Count an earlier, interrupted attempt; one at an auxiliary training counts for the run too."""
        self.charge(took)
        if self.whole is not None:
            self.whole.charge_attempt(took)

    def note_training(self, *, steps: int, examples: int) -> None:
        """A training on this budget has ended after so many steps and examples."""
        self.ledger.steps += steps
        self.ledger.examples += examples
