"""A warm-up that is a share of the training."""

import math
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from training_case import N_USERS, FakeContext, TinyModel, batches_of

from recbench.core import Budget
from recbench.nn.training.loop import train
from recbench.nn.training.settings import TrainingSettings

STEPS_PER_EPOCH = math.ceil(N_USERS / 8)


def rates(folder: Path, *, budget: Budget | None = None, module: TinyModel | None = None, **settings: Any) -> list[float]:
    """The learning rate of every step, as a share of the highest."""
    module = module or TinyModel()
    context = FakeContext(folder, **({} if budget is None else {"budget": budget}))
    made = TrainingSettings(learning_rate=0.01, curve_every_steps=1, **settings)
    report = train(context, module, batches=batches_of(8), settings=made)
    assert [point.step for point in report.curve] == list(range(1, report.steps + 1))
    return [point.learning_rate / 0.01 for point in report.curve]


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "inverse_sqrt"])
@pytest.mark.parametrize("bound", [{"max_steps": 20}, {"max_epochs": 4}])
def test_a_share_of_known_steps_is_that_number_of_steps(tmp_path: Path, schedule: str, bound: dict[str, int]) -> None:
    by_share = rates(tmp_path / "share", schedule=schedule, warmup_share=0.2, **bound)
    by_steps = rates(tmp_path / "steps", schedule=schedule, warmup_steps=4, **bound)
    assert len(by_share) == 4 * STEPS_PER_EPOCH == 20
    assert by_share == pytest.approx(by_steps)
    assert by_share[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, by_steps[4]])


def test_a_share_refers_to_the_budget_that_ends_training(tmp_path: Path) -> None:
    assert rates(tmp_path, warmup_share=0.5, max_epochs=1000, budget=Budget.parse("10steps"))[1:5] == pytest.approx([0.4, 0.6, 0.8, 1.0])


def test_a_share_of_a_budget_of_seconds_is_one_of_its_time(tmp_path: Path) -> None:
    class Slow(TinyModel):
        def forward(self, rows: Any) -> Any:
            time.sleep(0.01)
            return super().forward(rows)

    budget = Budget("seconds", 0.4, started_at=time.monotonic())
    found = rates(tmp_path, warmup_share=0.5, max_epochs=100_000, budget=budget, module=Slow())
    # Whatever else the machine does, the rate rises from near 0 and reaches its height before the end.
    assert found[0] < 0.2
    assert found == sorted(found)
    assert found[-1] == 1.0


def test_a_warm_up_is_said_once() -> None:
    with pytest.raises(ValidationError, match=r"warmup_steps=3 and warmup_share=0\.1 say how long the warm-up is"):
        TrainingSettings(warmup_steps=3, warmup_share=0.1)
    with pytest.raises(ValidationError, match="less than 1"):
        TrainingSettings(warmup_share=1.0)
