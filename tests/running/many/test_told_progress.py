"""What a run tells about the work in progress."""

import time

import pytest

from recbench.core import SilentProgress
from recbench.running.many import told_progress as steps
from recbench.running.many.told_progress import Step, TellingProgress


def test_the_outermost_step_with_an_end_is_told_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "_EVERY_S", 0.0)
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    told: list[Step | None] = []
    progress = TellingProgress(SilentProgress(), told.append)
    with progress.task("reading"):
        assert told == [Step("reading", None)]
        with progress.task("training", 10) as training:
            now += 6.0
            training.advance(2)
            assert told[-1] == Step("training", 24.0)
            training.show("loss 2.31")
            with progress.task("validation", 4) as validation:
                validation.advance(2)
                assert told[-1] == Step("training: loss 2.31", 24.0)
            training.total(4)
            now += 2.0
            training.advance()
            assert told[-1] == Step("training: loss 2.31", pytest.approx(8 / 3))
            training.advance(3)
            assert told[-1] == Step("training: loss 2.31", 0.0)
    assert told[-1] is None


def test_steps_are_told_twice_a_second_at_most() -> None:
    told: list[Step | None] = []
    with TellingProgress(SilentProgress(), told.append).task("counting", 1000) as task:
        for _ in range(1000):
            task.advance()
    assert len(told) < 10
    assert told[-1] is None
