"""Seconds that work takes, on the clock and of the processor."""

import os
import time
from dataclasses import dataclass


def processor_seconds() -> float:
    """Processor time of this process so far: user and system, all threads, and child processes that have ended."""
    # The clock of this process is finer than the ticks of `os.times`, which alone knows the children.
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


@dataclass(frozen=True)
class Elapsed:
    """Wall time and processor time of the same work.

    Attributes:
        seconds: on the clock.
        cpu_seconds: of the processor, as `processor_seconds` counts them. Other work on the machine leaves them as they are, about.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @classmethod
    def now(cls) -> "Elapsed":
        """The present moment on both clocks; only differences mean something."""
        return cls(time.monotonic(), processor_seconds())

    def __add__(self, other: "Elapsed") -> "Elapsed":
        return Elapsed(self.seconds + other.seconds, self.cpu_seconds + other.cpu_seconds)

    def __sub__(self, other: "Elapsed") -> "Elapsed":
        return Elapsed(self.seconds - other.seconds, self.cpu_seconds - other.cpu_seconds)


NO_TIME = Elapsed()
