"""Seconds and memory of a piece of work."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import psutil

_EVERY_S = 0.05
_TICK_S = 5.0


class Meter:
    """Measures wall time and the peak resident memory of this process while it is entered.

    On a CUDA device the peak of allocated device memory is added by whoever owns the device; this class knows of none.
    """

    def __init__(self, on_tick: Callable[[float], None] | None = None) -> None:
        """`on_tick` is told the seconds so far, every few seconds, so that they survive a kill."""
        self._on_tick = on_tick
        self.seconds = 0.0
        self.peak_memory_bytes = 0
        self._stop = threading.Event()
        self._process = psutil.Process()

    def __enter__(self) -> Self:
        self._start = time.perf_counter()
        self._sample()
        self._thread = threading.Thread(target=self._watch, name="recbench-meter", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self._sample()
        self.seconds = time.perf_counter() - self._start

    def _watch(self) -> None:
        ticked = self._start
        while not self._stop.wait(_EVERY_S):
            self._sample()
            now = time.perf_counter()
            if self._on_tick is not None and now - ticked >= _TICK_S:
                ticked = now
                self._on_tick(now - self._start)

    def _sample(self) -> None:
        self.peak_memory_bytes = max(self.peak_memory_bytes, int(self._process.memory_info().rss))


def process_start() -> float:
    """When this process began, on the clock of `time.monotonic()`: a budget covers the seconds that imports take."""
    return time.monotonic() - max(0.0, time.time() - psutil.Process().create_time())
