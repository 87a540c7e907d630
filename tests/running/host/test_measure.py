"""Peaks of device memory: of each stage, of stages within one another, and on the board."""

from pathlib import Path
from typing import Any

from recbench.core.records import StagePart
from recbench.nn.training.memory import device_memory
from recbench.running.host.measure import DeviceGauge, Meter
from recbench.running.stages.store import StageStore


class FakeMemory:
    """A device whose allocations are told."""

    def __init__(self) -> None:
        self.now, self.peak = 0, 0

    def set(self, n: int) -> None:
        self.now, self.peak = n, max(self.peak, n)

    def reset(self) -> None:
        self.peak = self.now

    def peak_bytes(self) -> int:
        return self.peak


def test_work_within_work_has_its_own_peak_and_counts_for_the_outer() -> None:
    memory = FakeMemory()
    gauge = DeviceGauge(memory)
    memory.set(900)
    memory.set(10)
    with Meter(device=gauge) as outer:
        memory.set(50)
        memory.set(20)
        with Meter(device=gauge) as inner:
            memory.set(40)
            memory.set(20)
        with Meter(device=gauge) as later:
            pass
        memory.set(5)
    assert (outer.peak_device_memory_bytes, inner.peak_device_memory_bytes, later.peak_device_memory_bytes) == (50, 40, 20)


def test_what_an_inner_stage_needed_counts_for_the_outer() -> None:
    memory = FakeMemory()
    gauge = DeviceGauge(memory)
    with Meter(device=gauge) as outer, Meter(device=gauge):
        memory.set(70)
        memory.set(0)
    assert outer.peak_device_memory_bytes == 70


def test_a_stage_keeps_its_peak_in_the_cache(tmp_path: Path) -> None:
    memory = FakeMemory()
    store = StageStore(tmp_path, device=DeviceGauge(memory))
    part = store.get("training-toy", {}, lambda folder: memory.set(1 << 30)).part()
    assert isinstance(part, StagePart)
    assert part.peak_device_memory_bytes == 1 << 30
    assert StageStore(tmp_path).get("training-toy", {}, lambda folder: None).part().peak_device_memory_bytes == 1 << 30


def test_on_a_cpu_nobody_measures_a_device(tmp_path: Path) -> None:
    assert device_memory("cpu") is None
    assert StageStore(tmp_path).get("training-toy", {}, lambda folder: None).peak_device_memory_bytes is None


def test_the_counter_of_a_device_is_torchs(monkeypatch: Any) -> None:
    asked: list[str] = []
    monkeypatch.setattr("torch.cuda.reset_peak_memory_stats", asked.append)
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda device: len(device))
    memory = device_memory("cuda:3")
    assert memory is not None
    memory.reset()
    assert (asked, memory.peak_bytes()) == (["cuda:3"], 6)
