"""What a budget covers in a whole run: auxiliary trainings, cached stages, the ranking; and what becomes of a model that hardly trained."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbench.core import Budget
from recbench.core.elapsed import Elapsed
from recbench.core.errors import BudgetTooSmall, Interrupted
from recbench.core.records import FitPart, RunRecord, StagePart
from recbench.nn.training.loop import _Training
from recbench.running.host.workplace import Workplace
from recbench.running.requests import RunRequest
from recbench.running.run import execute
from recbench.running.run import fit_context as context
from recbench.running.stages.store import StageStore


@pytest.fixture
def workplace(tmp_path: Path, demo_home: Path) -> Workplace:
    return Workplace(demo_home, None, tmp_path / "runs", tmp_path / "leaderboards")


def run(workplace: Workplace, model: str, budget: str | None, **options: object) -> RunRecord:
    request = RunRequest(model, "demo", preset="smoke", threads=1, budget=budget, **options)
    outcome = execute.run_request(request, workplace)
    assert outcome is not None
    return outcome.record


def stage(record: RunRecord, name: str) -> Any:
    return next(part for part in record.stages if part.name == name)


def test_another_model_s_training_gets_a_quarter_and_its_steps_count(workplace: Workplace) -> None:
    record = run(workplace, "gram", "20steps")
    of_neighbours = stage(record, "training-sasrec")
    assert (of_neighbours.steps, of_neighbours.stopped_by) == (5, "budget")
    assert (record.fit.steps, record.fit.stopped_by) == (15, "budget")
    # From the cache it counts as much as when it was trained.
    again = run(workplace, "gram", "20steps", again=True, rerun=("training-gram",))
    assert stage(again, "training-sasrec").reused
    assert again.fit.steps == 15
    # A bounded auxiliary training is no unbounded one.
    free = run(workplace, "sasrec", None)
    assert not stage(free, "training-sasrec").reused
    assert free.fit.stopped_by == "done"


def test_a_training_inside_a_stage_gets_a_quarter_and_its_steps_count(workplace: Workplace) -> None:
    record = run(workplace, "prorec", "20steps")
    assert stage(record, "prorec.joint").steps == 5
    assert record.fit.steps == 15


def test_a_cached_stage_is_charged_with_what_it_cost(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    run(workplace, "text-knn", None)
    charged: list[Elapsed] = []
    monkeypatch.setattr(Budget, "charge", lambda _self, took: charged.append(took))
    record = run(workplace, "text-knn", "1h")
    reused = [part.elapsed for part in record.stages if part.reused and part.name not in {"dataset", "split"}]
    assert reused
    assert charged == reused


def test_two_auxiliary_trainings_share_their_quarter(workplace: Workplace) -> None:
    record = run(workplace, "letter", "80steps")
    steps = {part.name: part.steps for part in record.stages if part.steps}
    # The first would take all 20 steps of the quarter.
    assert (steps["training-sasrec"], steps["letter-codes"]) == (10, 10)
    assert (record.fit.steps, record.fit.stopped_by) == (60, "budget")


def test_a_budget_ends_a_stage_that_trains_nothing(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Budget, "used_s", lambda _self: 61.0)
    with pytest.raises(
        BudgetTooSmall, match=r"budget of 60 seconds ended in '[^']+', \d+% done, \d+ s more to go: 61 s are used, .* at least --budget 80s"
    ):
        run(workplace, "tiger", "60s")
    assert not workplace.runs.exists()


def test_earlier_attempts_at_a_stage_are_charged(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    charged: list[Elapsed] = []
    monkeypatch.setattr(Budget, "charge", lambda _self, took: charged.append(took))
    really = StageStore._measured

    def measured(*arguments: object) -> object:
        meter = really(*arguments)
        meter.earlier = Elapsed(100.0, 50.0)
        return meter

    monkeypatch.setattr(StageStore, "_measured", measured)
    run(workplace, "text-knn", "1h")
    assert charged == [Elapsed(100.0, 50.0)]


def test_a_budget_used_up_before_the_first_step_says_what_took_it(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    # With the last stage that the model asks for an hour passes.
    monkeypatch.setattr(context.RunContext, "note_stages", _an_hour_passes(context.RunContext.note_stages))
    words = r"Model 'tiger': A budget of 60 seconds cannot .*: 36\d\d s are used, .* --budget 4\d\d\ds, .* Stages that it asked for: .* s\."
    with pytest.raises(BudgetTooSmall, match=words):
        run(workplace, "tiger", "60s")
    assert not workplace.runs.exists()
    assert not list((workplace.stages / "partial").glob("training-*"))


def _an_hour_passes(note: Callable[..., None]) -> Callable[..., None]:
    def noted(self: context.RunContext, *parts: StagePart) -> None:
        note(self, *parts)
        if parts[-1].name == "codes":
            self.budget.charge(Elapsed(3600.0, 3600.0))

    return noted


def test_a_budget_that_the_ranking_would_use_up_is_refused(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "_EVALUATION_S_PER_USER", 10.0)
    with pytest.raises(BudgetTooSmall, match=r"[\d,]+ s are kept for ranking the test users.*Give at least --budget \d+s"):
        run(workplace, "sasrec", "30s")
    assert not workplace.runs.exists()


def test_time_for_the_ranking_is_kept_from_the_first_step_on(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    reserves: list[float] = []
    rehearse = context.RunContext.rehearse

    def rehearsed(self: context.RunContext, ranker: object) -> None:
        rehearse(self, ranker)
        reserves.append(self.budget.ledger.reserve_s)

    monkeypatch.setattr(context.RunContext, "rehearse", rehearsed)
    run(workplace, "sasrec", "60s")
    assert len(reserves) == 1
    assert 1.5 < reserves[0] < 30


def test_processor_time_bounds_what_is_the_model_s_own_whatever_its_epochs_and_patience(workplace: Workplace) -> None:
    # At a rate of next to nothing no validation is better than the first.
    settings = {"training.max_epochs": 1, "training.max_steps": 5, "training.patience": 1, "training.learning_rate": 1e-12}
    record = run(workplace, "sasrec", "4cpu-s", overrides=settings)
    assert record.budget == "4cpu-s"
    assert record.fit.stopped_by == "budget"
    assert record.fit.steps > 10
    assert record.fit.epochs > 1
    assert record.cost is not None
    assert record.cost.train_cpu_s is not None
    assert record.cost.cpu_s is not None
    # The last validation may end a little late.
    assert 1.0 < record.cost.train_cpu_s < 6.0
    assert record.cost.cpu_s > record.cost.train_cpu_s
    assert all(part.cpu_seconds is not None for part in record.stages)


def test_a_training_that_goes_on_has_the_processor_time_that_was_left(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"training.max_epochs": 10_000, "training.max_steps": 100_000}
    step, n_steps = _Training._step, 0

    def stopped(self: _Training) -> None:
        nonlocal n_steps
        n_steps += 1
        step(self)
        if n_steps == 100:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(_Training, "_step", stopped)
    with pytest.raises(Interrupted):
        run(workplace, "sasrec", "4cpu-s", overrides=settings)
    charged: list[Elapsed] = []
    charge = Budget.charge

    def noted(self: Budget, took: Elapsed) -> None:
        charged.append(took)
        charge(self, took)

    monkeypatch.setattr(Budget, "charge", noted)
    record = run(workplace, "sasrec", "4cpu-s", overrides=settings)
    assert record.fit.resumed_at == 100
    assert len(charged) == 1
    assert 0.1 < charged[0].cpu_seconds < 4.0


def test_processor_time_too_short_for_a_tick_is_refused_in_a_sentence(workplace: Workplace) -> None:
    with pytest.raises(BudgetTooSmall, match=r"--budget \d+cpu-s"):
        run(workplace, "sasrec", "0.01cpu-s")


def test_an_older_stage_counts_processor_time_as_long_as_it_took() -> None:
    part = StagePart(name="codes", key="k", seconds=7.0, peak_memory_bytes=1, reused=True)
    assert part.elapsed == Elapsed(7.0, 7.0)
    assert part.model_copy(update={"cpu_seconds": 3.0}).elapsed == Elapsed(7.0, 3.0)


def fit(**changes: object) -> FitPart:
    values = {
        "steps": 10,
        "epochs": 3.0,
        "examples_seen": 300,
        "examples_possible": 100,
        "parameters": 7,
        "parameters_trainable": 7,
        "parameters_embedding": 0,
        "chosen": {},
        "stopped_by": "budget",
        "validations": 2,
    }
    return FitPart.model_validate(values | changes)


@pytest.mark.parametrize(
    ("changes", "mark"),
    [
        ({}, ""),
        ({"examples_seen": 100}, ""),
        ({"examples_seen": 33}, "undertrained: 0.3 passes"),
        # An epoch of a model that draws a window of each user is no pass of the examples.
        ({"examples_seen": 33, "epochs": 5.0, "stopped_by": "done"}, "undertrained: 0.3 passes"),
        ({"examples_seen": 1, "examples_possible": 400}, "undertrained: 0.0025 passes"),
        ({"examples_seen": 9_999, "examples_possible": 10_000}, "undertrained: 0.999 passes"),
        ({"validations": 0}, "undertrained: the budget ended before the first validation"),
        ({"validations": 0, "stopped_by": "done"}, ""),
        ({"validations": None}, ""),
        ({"examples_seen": 0, "examples_possible": 0, "parameters_trainable": 0, "stopped_by": "done"}, ""),
    ],
)
def test_mark_of_a_model_that_hardly_trained(changes: dict[str, object], mark: str) -> None:
    assert fit(**changes).undertrained == mark
