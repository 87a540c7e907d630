"""A bound on what a run may spend: seconds, optimiser steps or training examples."""

import re
import time
from dataclasses import dataclass, field, replace
from typing import Literal

from recbench.core.errors import BadConfig

Unit = Literal["seconds", "steps", "examples"]
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass
class Budget:
    """How much is left. A budget of seconds covers the whole run: what the final ranking will need is kept back.

    Attributes:
        unit: what is counted; None: unlimited.
        amount: how much of it.
        started_at: `time.monotonic()` of the start of the run.
        reserve_s: seconds kept back for what comes after training; the harness raises it once it has timed a ranking.
    """

    unit: Unit | None = None
    amount: float = 0.0
    started_at: float = field(default_factory=time.monotonic)
    reserve_s: float = 0.0

    @classmethod
    def parse(cls, text: str | None, started_at: float | None = None) -> "Budget":
        """From `90s`, `20m`, `1.5h`, `5000steps` or `1000000examples`; None is unlimited."""
        start = time.monotonic() if started_at is None else started_at
        if text is None:
            return cls(started_at=start)
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|m|h|steps|examples)\s*", text)
        if match is None or float(match[1]) <= 0:
            raise BadConfig(f"--budget {text!r} is not understood. Write seconds, minutes, hours, steps or examples: 90s, 20m, 5000steps.")
        number, unit = float(match[1]), match[2]
        if unit in _SECONDS:
            return cls("seconds", number * _SECONDS[unit], start)
        return cls("steps" if unit == "steps" else "examples", number, start)

    def __str__(self) -> str:
        return "unlimited" if self.unit is None else f"{self.amount:g} {self.unit}"

    @property
    def text(self) -> str | None:
        """As `parse` reads it, in one way for equal budgets: `15m` for 900 seconds; None where it is unlimited."""
        if self.unit is None:
            return None
        if self.unit != "seconds":
            return f"{self.amount:.15g}{self.unit}"
        unit = next((unit for unit in ("h", "m") if self.amount % _SECONDS[unit] == 0), "s")
        return f"{self.amount / _SECONDS[unit]:.15g}{unit}"

    def seconds_left(self) -> float:
        """Seconds that training may still use; infinite where the budget is not one of seconds."""
        if self.unit != "seconds":
            return float("inf")
        return self.amount - self.reserve_s - (time.monotonic() - self.started_at)

    def part(self, share: float) -> "Budget":
        """A share, 0 to 1, of what is left now: for the first of several trainings of one run."""
        if self.unit != "seconds":
            return replace(self, amount=self.amount * share)
        used_s = time.monotonic() - self.started_at
        return replace(self, amount=used_s + self.reserve_s + share * max(self.seconds_left(), 0.0))

    def without(self, *, steps: int, examples: int) -> "Budget":
        """What a training of so many steps and examples leaves; seconds pass by themselves."""
        return replace(self, amount=self.amount - {"steps": steps, "examples": examples}.get(self.unit or "", 0))

    def is_spent(self, *, steps: int, examples: int) -> bool:
        """Whether training must stop now, after so many steps and examples."""
        if self.unit == "seconds":
            return self.seconds_left() <= 0
        if self.unit == "steps":
            return steps >= self.amount
        return self.unit == "examples" and examples >= self.amount
