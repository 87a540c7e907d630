"""Meters of seconds and memory of a piece of work."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

import psutil

from recbench.core.elapsed import NO_TIME, Elapsed

_EVERY_S = 0.05
_TICK_S = 5.0


class DeviceMemory(Protocol):
    """The counter of an accelerator's memory, kept by whoever owns the device."""

    def reset(self) -> None:
        """Forget the peak so far."""

    def peak_bytes(self) -> int:
        """Most bytes allocated since the last reset."""


class DeviceGauge:
    """Peaks of device memory of pieces of work within one another, from a counter that knows one peak since its last reset."""

    def __init__(self, memory: DeviceMemory) -> None:
        self._memory = memory
        self._open: list[int] = []
        """The peak so far of every piece that runs, the innermost last."""

    def begin(self) -> None:
        """Begin a piece of work; memory that is already allocated counts for it too."""
        self._note()
        self._memory.reset()
        self._open.append(0)

    def end(self) -> int:
        """End the innermost piece of work and return its peak in bytes."""
        self._note()
        return self._open.pop()

    def _note(self) -> None:
        peak = self._memory.peak_bytes()
        self._open = [max(peak, before) for before in self._open]


class Meter:
    """Measures time, the peak resident memory of this process and, with a gauge, that of the device while it is entered."""

    def __init__(self, on_tick: Callable[[], None] | None = None, device: DeviceGauge | None = None) -> None:
        """Make a meter that starts when it is entered.

        Args:
            on_tick: called every few seconds, so that what was measured can survive a kill.
            device: gauge of the accelerator that the work runs on; None: the work runs on none.
        """
        self._on_tick = on_tick
        self._device = device
        self.elapsed = NO_TIME
        self.earlier = NO_TIME
        """Time of earlier attempts at the same work, where whoever meters it counts them in."""
        self.peak_memory_bytes = 0
        self.peak_device_memory_bytes: int | None = None
        self._stop = threading.Event()
        self._process = psutil.Process()

    def __enter__(self) -> Self:
        self._start = Elapsed.now()
        self._sample()
        if self._device is not None:
            self._device.begin()
        self._thread = threading.Thread(target=self._watch, name="recbench-meter", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self._sample()
        if self._device is not None:
            self.peak_device_memory_bytes = self._device.end()
        self.elapsed = Elapsed.now() - self._start

    def _watch(self) -> None:
        ticked = time.perf_counter()
        while not self._stop.wait(_EVERY_S):
            self._sample()
            now = time.perf_counter()
            if self._on_tick is not None and now - ticked >= _TICK_S:
                ticked = now
                self._on_tick()

    def _sample(self) -> None:
        self.peak_memory_bytes = max(self.peak_memory_bytes, int(self._process.memory_info().rss))


def process_start() -> float:
    """Start of this process on the clock of `time.monotonic()`: a budget covers the seconds that imports take."""
    return time.monotonic() - max(0.0, time.time() - psutil.Process().create_time())
