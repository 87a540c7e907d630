import math
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from training_case import N_ITEMS, N_USERS, FakeContext, TinyModel, batches_of, restless, same_weights

from recbench.core import Budget, FitReport, Interrupted, StageFailed
from recbench.core.elapsed import Elapsed
from recbench.core.errors import BudgetTooSmall, Untrained
from recbench.nn.training.batch import shard
from recbench.nn.training.loop import train
from recbench.nn.training.optimizer import count_parameters
from recbench.nn.training.settings import TrainingSettings, rate_factor

STEPS_PER_EPOCH = 5  # 37 examples in batches of 8
SETTINGS = TrainingSettings(learning_rate=0.05, max_epochs=6, curve_every_steps=4, weight_decay=0.1)
THOROUGH = SETTINGS.model_copy(update={"schedule": "cosine", "warmup_steps": 3, "clip_norm": 0.5, "accumulate": 2, "patience": 4})


def run(folder: Path, module: TinyModel, settings: TrainingSettings = SETTINGS, **context: Any) -> FitReport:
    return train(FakeContext(folder, **context), module, batches=batches_of(8), settings=settings, ranker=module)


def without_seconds(report: FitReport) -> FitReport:
    return replace(report, curve=[replace(point, seconds=0.0) for point in report.curve], resumed_at=None)


def stop() -> None:
    signal.raise_signal(signal.SIGTERM)


def test_report_says_what_was_done(tmp_path: Path) -> None:
    module = TinyModel()
    report = train(FakeContext(tmp_path), module, batches=batches_of(8), settings=SETTINGS, ranker=module, examples_possible=N_USERS)
    assert (report.steps, report.epochs, report.examples_seen, report.examples_possible) == (30, 6.0, 6 * N_USERS, N_USERS)
    assert report.stopped_by == "done"
    assert report.resumed_at is None
    assert sorted(module.seen) == sorted(list(range(N_USERS)) * 6)
    assert report.parameters.embedding == N_ITEMS * 4
    assert report.parameters.total == report.parameters.trainable == sum(p.numel() for p in module.parameters())
    assert [point.step for point in report.curve] == [4, 5, 8, 10, 12, 15, 16, 20, 24, 25, 28, 30]
    assert [point.step for point in report.curve if point.validation] == [5, 10, 15, 20, 25, 30]
    assert report.curve[1].epoch == 1.0
    assert report.curve[0].learning_rate == 0.05
    assert all(point.loss is not None for point in report.curve)
    assert not module.training


def test_loss_of_the_curve_is_the_mean_over_targets_since_the_last_point(tmp_path: Path) -> None:
    module = TinyModel(dropout=0.0)
    expected, _ = TinyModel(dropout=0.0)(np.arange(N_USERS))
    settings = TrainingSettings(learning_rate=1e-9, max_epochs=1)
    report = run(tmp_path, module, settings)
    assert report.curve[-1].loss == pytest.approx(expected.item() / N_USERS, rel=1e-5)


def test_it_learns(tmp_path: Path) -> None:
    module = TinyModel(dropout=0.0)
    report = run(tmp_path, module, SETTINGS.model_copy(update={"max_epochs": 60, "weight_decay": 0.0}))
    assert report.curve[-1].loss is not None
    assert report.curve[-1].loss < 0.1


@pytest.mark.parametrize("settings", [SETTINGS, THOROUGH], ids=["plain", "thorough"])
@pytest.mark.parametrize("stop_at", [1, 4, 5, 9, 17])
def test_resumed_training_equals_an_uninterrupted_one(tmp_path: Path, settings: TrainingSettings, stop_at: int) -> None:
    whole = TinyModel()
    expected = run(tmp_path / "whole", whole, settings, score=restless)

    first, then = TinyModel(at_call={stop_at * settings.accumulate: stop}), TinyModel()
    with pytest.raises(Interrupted, match=f"SIGTERM after step {stop_at}.*same command goes on"):
        run(tmp_path / "cut", first, settings, score=restless)
    report = run(tmp_path / "cut", then, settings, score=restless)

    assert report.resumed_at == stop_at
    assert then.calls == whole.calls - first.calls
    assert same_weights(then, whole)
    assert without_seconds(report) == without_seconds(expected)


def test_a_training_cut_again_and_again_still_gives_the_same(tmp_path: Path) -> None:
    whole = TinyModel()
    expected = run(tmp_path / "whole", whole, score=restless)
    for _ in range(9):
        with pytest.raises(Interrupted):
            run(tmp_path / "cut", TinyModel(at_call={3: stop}), score=restless)
    last = TinyModel()
    report = run(tmp_path / "cut", last, score=restless)
    assert report.resumed_at == 27
    assert same_weights(last, whole)
    assert without_seconds(report) == without_seconds(expected)


def test_stop_during_a_validation_does_not_wait_for_it_and_repeats_it(tmp_path: Path) -> None:
    whole = TinyModel()
    expected = run(tmp_path / "whole", whole, score=restless)
    for cut_validation in (3, 4):  # the last one of six is number 3 + 3

        def score(ranker: Any, state: list[int] = [0], cut: int = cut_validation) -> float:  # noqa: B006
            state[0] += 1
            if state[0] == cut:
                stop()
                raise AssertionError("the validation went on after SIGTERM")
            return restless(ranker)

        with pytest.raises(Interrupted):
            run(tmp_path / "cut", TinyModel(), score=score)
    last = TinyModel()
    report = run(tmp_path / "cut", last, score=restless)
    assert report.resumed_at == 30
    assert same_weights(last, whole)
    assert without_seconds(report) == without_seconds(expected)


def test_the_log_says_where_it_went_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with pytest.raises(Interrupted):
        run(tmp_path, TinyModel(at_call={7: stop}))
    assert "resumed" not in caplog.text
    run(tmp_path, TinyModel())
    assert [record.message for record in caplog.records if "resumed" in record.message] == ["resumed at step 7"]


def test_finished_training_is_not_repeated(tmp_path: Path) -> None:
    first, again = TinyModel(), TinyModel()
    report = run(tmp_path, first, score=restless)
    repeated = run(tmp_path, again, score=restless)
    assert again.calls == 0
    assert same_weights(first, again)
    assert without_seconds(report) == without_seconds(repeated)


def test_checkpoint_of_other_settings_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Interrupted):
        run(tmp_path, TinyModel(at_call={7: stop}))
    other, expected = TinyModel(), TinyModel()
    settings = SETTINGS.model_copy(update={"learning_rate": 0.01})
    assert run(tmp_path, other, settings).resumed_at is None
    assert "belongs to other settings" in caplog.text
    run(tmp_path / "alone", expected, settings)
    assert same_weights(other, expected)


def test_damaged_newest_checkpoint_falls_back_to_the_one_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = TinyModel()
    run(tmp_path / "whole", whole, score=restless)
    often = SETTINGS.model_copy(update={"checkpoint_every_s": 0.0})
    with pytest.raises(Interrupted):
        run(tmp_path / "cut", TinyModel(at_call={9: stop}), often, score=restless)
    newest = max((tmp_path / "cut" / "training").glob("*/weights.safetensors"))
    content = bytearray(newest.read_bytes())
    content[-1] ^= 1
    newest.write_bytes(content)
    last = TinyModel()
    report = run(tmp_path / "cut", last, often, score=restless)
    assert report.resumed_at == 8
    assert f"checkpoint {newest.parent.name} is damaged (weights.safetensors" in caplog.text
    assert same_weights(last, whole)


def test_trainings_of_one_model_keep_apart(tmp_path: Path) -> None:
    context = FakeContext(tmp_path)
    first, second = TinyModel(), TinyModel()
    train(context, first, batches=batches_of(8), settings=SETTINGS, name="first")
    report = train(context, second, batches=batches_of(8), settings=SETTINGS, name="second")
    assert report.resumed_at is None
    assert second.calls == 30
    assert not same_weights(first, second)  # other dropout


def test_signal_handlers_are_put_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    run(tmp_path / "done", TinyModel())
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    with pytest.raises(Interrupted, match="Ctrl-C"):
        run(tmp_path / "cut", TinyModel(at_call={2: lambda: signal.raise_signal(signal.SIGINT)}))
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, TinyModel(at_call={2: twice}))
    assert not list((tmp_path).glob("training/*/state.json"))


def test_training_outside_the_main_thread_leaves_signals_alone(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(run, tmp_path, TinyModel()).result().steps == 30


def test_accumulation_equals_the_big_batch(tmp_path: Path) -> None:
    whole, parts = TinyModel(dropout=0.0), TinyModel(dropout=0.0)
    settings = SETTINGS.model_copy(update={"clip_norm": 0.3})
    run(tmp_path / "whole", whole, settings)
    run(tmp_path / "parts", parts, settings.model_copy(update={"accumulate": 3}))
    assert parts.calls == 3 * whole.calls
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_more_parts_than_rows_leave_no_empty_call(tmp_path: Path) -> None:
    module = TinyModel()
    report = run(tmp_path, module, SETTINGS.model_copy(update={"accumulate": 16, "max_epochs": 1}))
    assert module.calls == N_USERS
    assert report.steps == STEPS_PER_EPOCH


def test_clipping_bounds_the_gradient(tmp_path: Path) -> None:
    module, free = TinyModel(), TinyModel()
    one_step = SETTINGS.model_copy(update={"max_steps": 1})

    def norm(trained: TinyModel) -> float:
        return float(torch.cat([p.grad.flatten() for p in trained.parameters()]).norm())

    run(tmp_path / "free", free, one_step)
    run(tmp_path / "clipped", module, one_step.model_copy(update={"clip_norm": 0.25}))
    assert norm(module) == pytest.approx(0.25, rel=1e-3)
    assert norm(free) > 0.3


@pytest.mark.parametrize("decay_on", ["matrices", "all"])
def test_weight_decay_spares_biases_norms_and_embeddings_unless_told(tmp_path: Path, decay_on: str) -> None:
    class Idle(TinyModel):
        def forward(self, rows: np.ndarray[Any, Any]) -> tuple[Tensor, int]:
            loss, n = super().forward(rows)
            return 0.0 * loss, n

    module, before = Idle(), Idle()
    with torch.no_grad():
        for one in (module, before):
            one.norm.bias.fill_(0.5)
    run(tmp_path, module, SETTINGS.model_copy(update={"decay_on": decay_on, "max_epochs": 1}))
    changed = {name for name, p in module.named_parameters() if not torch.equal(p, before.get_parameter(name))}
    everything = {name for name, _ in module.named_parameters()}
    assert changed == ({"out.weight"} if decay_on == "matrices" else everything)


def test_nan_loss_names_the_step_and_the_rate(tmp_path: Path) -> None:
    class Poisoned(TinyModel):
        def forward(self, rows: np.ndarray[Any, Any]) -> tuple[Tensor, int]:
            loss, n = super().forward(rows)
            return (loss * math.nan if self.calls == 7 else loss), n

    with pytest.raises(StageFailed, match=r"loss of step 7 is nan.*learning rate of 0\.05.*lower"):
        run(tmp_path, Poisoned())


def test_no_examples_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match="has no batches"):
        train(FakeContext(tmp_path), TinyModel(), batches=lambda epoch: [], settings=SETTINGS)


def test_nothing_to_train_is_an_error(tmp_path: Path) -> None:
    module = TinyModel().requires_grad_(False)
    with pytest.raises(StageFailed, match="no parameter that needs a gradient"):
        run(tmp_path, module)


def scripted(values: list[float]) -> Callable[[Any], float]:
    rest = iter(values)
    return lambda ranker: next(rest)


def test_early_stopping_restores_the_best(tmp_path: Path) -> None:
    module, until_best = TinyModel(), TinyModel()
    settings = SETTINGS.model_copy(update={"patience": 3, "max_epochs": 50})
    report = run(tmp_path / "a", module, settings, score=scripted([0.1, 0.3, 0.2, 0.3, 0.1]))
    assert report.stopped_by == "patience"
    assert report.steps == 5 * STEPS_PER_EPOCH
    assert report.chosen == {"step": 2 * STEPS_PER_EPOCH, "ndcg@10": 0.3}
    run(tmp_path / "b", until_best, settings.model_copy(update={"max_epochs": 2}), score=scripted([0.1, 0.3]))
    assert same_weights(module, until_best)


def test_without_a_ranker_the_last_weights_stay(tmp_path: Path) -> None:
    context = FakeContext(tmp_path)
    report = train(context, TinyModel(), batches=batches_of(8), settings=SETTINGS)
    assert report.chosen == {"step": 30}
    assert context.validations == []


def test_two_best_of_a_subset_are_ranked_again_over_all_users(tmp_path: Path) -> None:
    module = TinyModel()
    context = FakeContext(tmp_path, score=scripted([0.1, 0.4, 0.2, 0.5, 0.3, 0.3]), score_all=scripted([0.31, 0.35]))
    report = train(context, module, batches=batches_of(8), settings=SETTINGS, ranker=module)
    assert context.validations == [False] * 6 + [True, True]
    # The best of the subset (step 20) comes first and loses to the second (step 10).
    assert report.chosen == {"step": 10, "ndcg@10": 0.35}
    until_best = TinyModel()
    run(tmp_path / "b", until_best, SETTINGS.model_copy(update={"max_epochs": 2}), score=scripted([0.1, 0.4]))
    assert same_weights(module, until_best)


def test_stop_during_the_last_choice_comes_back_to_it(tmp_path: Path) -> None:
    def stopping(ranker: Any) -> float:
        stop()
        raise AssertionError("the validation went on after SIGTERM")

    values = [0.1, 0.4, 0.2, 0.5, 0.3, 0.3]
    with pytest.raises(Interrupted):
        run(tmp_path, TinyModel(), score=scripted(values), score_all=stopping)
    module = TinyModel()
    report = run(tmp_path, module, score=scripted([]), score_all=scripted([0.31, 0.35]))
    assert module.calls == 0
    assert report.chosen == {"step": 10, "ndcg@10": 0.35}


def test_caps_on_steps_and_examples_per_epoch(tmp_path: Path) -> None:
    by_steps, by_examples = TinyModel(), TinyModel()
    report = run(tmp_path / "a", by_steps, SETTINGS.model_copy(update={"steps_per_epoch": 2}))
    assert (report.steps, report.epochs, report.examples_seen) == (12, 6.0, 96)
    report = run(tmp_path / "b", by_examples, SETTINGS.model_copy(update={"examples_per_epoch": 17}))
    assert (report.steps, report.epochs, report.examples_seen) == (18, 6.0, 144)
    assert [point.step for point in report.curve if point.validation] == [3, 6, 9, 12, 15, 18]


def test_validation_by_steps_and_a_last_one_at_the_end(tmp_path: Path) -> None:
    report = run(tmp_path, TinyModel(), SETTINGS.model_copy(update={"validate_every_steps": 4, "max_steps": 11}))
    assert report.steps == 11
    assert report.epochs == pytest.approx(2.2)
    assert [point.step for point in report.curve if point.validation] == [4, 8, 11]


def test_budget_of_steps_and_examples(tmp_path: Path) -> None:
    report = run(tmp_path / "a", TinyModel(), budget=Budget.parse("7steps"))
    assert (report.steps, report.stopped_by) == (7, "budget")
    report = run(tmp_path / "b", TinyModel(), budget=Budget.parse("30examples"))
    assert (report.steps, report.examples_seen, report.stopped_by) == (4, 32, "budget")


class Recorder:
    """A progress that keeps what it was told."""

    def __init__(self) -> None:
        self.done, self.left, self.texts = 0.0, [], []

    @contextmanager
    def task(self, title: str, total: float | None = None) -> Iterator["Recorder"]:
        self.begun_with = total
        yield self

    def advance(self, n: float = 1) -> None:
        self.done += n

    def show(self, text: str) -> None:
        self.texts.append(text)

    def total(self, total: float) -> None:
        self.left.append(total - self.done)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[], float]:
    """A clock that goes on only where somebody sleeps: what a test of seconds finds depends on no machine and no load."""
    now = [1000.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", sleep)
    return lambda: now[0]


class Slow(TinyModel):
    def forward(self, rows: np.ndarray[Any, Any]) -> tuple[Tensor, int]:
        time.sleep(0.01)
        return super().forward(rows)


def test_budget_of_seconds_leaves_time_for_what_follows(tmp_path: Path, clock: Callable[[], float]) -> None:
    progress = Recorder()
    budget = Budget.parse("2.5s")

    def score(ranker: Any) -> float:
        time.sleep(0.1)
        budget.ledger.reserve_s = 0.5  # as the harness does once it has timed a ranking
        return 0.5

    start = clock()
    module = Slow()
    settings = SETTINGS.model_copy(update={"max_epochs": 10_000, "validate_every_epochs": 10})
    report = run(tmp_path, module, settings, budget=budget, score=score, progress=progress)
    spent = clock() - start
    assert report.stopped_by == "budget"
    assert 1.4 < spent < 2.4
    validated = [point for point in report.curve if point.validation]
    assert 0.2 < validated[0].seconds < 0.6
    assert validated[-1].step == report.steps
    assert len(progress.left) >= 2
    assert progress.left[-1] < progress.left[0]
    assert "loss" in progress.texts[-1]
    assert "ndcg@10 0.5000" in progress.texts[-1]


def test_budget_shorter_than_an_epoch_still_validates_the_last_weights(tmp_path: Path, clock: Callable[[], float]) -> None:
    module = Slow()
    settings = SETTINGS.model_copy(update={"validate_every_epochs": 1_000, "max_epochs": 10_000})

    def score(ranker: Any) -> float:
        time.sleep(0.05)
        return module.calls / 1_000

    report = run(tmp_path, module, settings, budget=Budget.parse("1s"), score=score)
    assert report.stopped_by == "budget"
    assert report.chosen["step"] == report.steps
    assert len([point for point in report.curve if point.validation]) == 2


def test_schedule_follows_the_clock_under_a_budget_of_seconds(tmp_path: Path, clock: Callable[[], float]) -> None:
    settings = TrainingSettings(learning_rate=0.1, schedule="linear", max_epochs=10_000, curve_every_steps=1)
    start = clock()
    report = train(FakeContext(tmp_path, budget=Budget.parse("0.6s")), Slow(), batches=batches_of(8), settings=settings)
    assert 0.55 < clock() - start < 0.65
    rates = [point.learning_rate or 0.0 for point in report.curve]
    assert rates[0] > 0.09
    assert rates[-1] < 0.03
    assert rates == sorted(rates, reverse=True)


def test_a_training_without_a_step_is_no_result(tmp_path: Path) -> None:
    budget = Budget("seconds", 1.0, started_at=time.monotonic() - 5)
    words = (
        r"training made no step: the budget of 1 seconds was used up before \(5 s are used, 0 s are kept .*\)\. Give at least --budget 10s"
    )
    with pytest.raises(Untrained, match=words):
        run(tmp_path, TinyModel(), budget=budget)
    with pytest.raises(BudgetTooSmall, match=r"A budget of 1 seconds cannot train one pass: 5 s are used, .* Give at least --budget \d+s"):
        slow_run(tmp_path, budget, possible=1_000)
    assert not list(tmp_path.rglob("state.json"))  # a later attempt must not go on from the state "budget spent"


def test_a_budget_of_steps_that_others_used_up_is_no_result(tmp_path: Path) -> None:
    budget = Budget.parse("7steps")
    budget.charge_auxiliary(Elapsed(1.0, 1.0), steps=7, examples=7)
    with pytest.raises(Untrained, match=r"the budget of 7 steps was used up before \(auxiliary trainings took 7 of them\)"):
        run(tmp_path, TinyModel(), budget=budget)


def test_steps_of_auxiliary_trainings_are_not_trained_again(tmp_path: Path) -> None:
    budget = Budget.parse("20steps")
    budget.charge_auxiliary(Elapsed(1.0, 1.0), steps=5, examples=5)
    assert run(tmp_path, TinyModel(), budget=budget).steps == 15
    assert budget.ledger.steps == 15


def slow_run(folder: Path, budget: Budget, possible: int, **context: Any) -> FitReport:
    """A training of 10 ms a step, 5 steps a pass."""
    settings = SETTINGS.model_copy(update={"max_epochs": 3})
    module = Slow()
    fake = FakeContext(folder, budget=budget, score=lambda _: 0.5, **context)
    return train(fake, module, batches=batches_of(8), settings=settings, ranker=module, examples_possible=possible)


def test_a_budget_that_cannot_hold_a_pass_is_refused_with_the_seconds_that_can(tmp_path: Path) -> None:
    with pytest.raises(BudgetTooSmall) as caught:
        slow_run(tmp_path / "long pass", Budget.parse("20s"), possible=1_000_000)
    match = re.search(r"A budget of 20 seconds cannot train one pass: .* 1,000,000 examples .* --budget (\d+)s", str(caught.value))
    assert match is not None
    assert float(match[1]) > 20
    with pytest.raises(BudgetTooSmall, match="256 s are kept for ranking the test users"):
        slow_run(tmp_path / "slow ranking", Budget.parse("240s"), possible=N_USERS, rehearsal_s=256.0)
    slow_run(tmp_path / "enough", Budget.parse("240s"), possible=N_USERS, rehearsal_s=100.0)


def test_neither_steps_nor_auxiliary_budgets_are_refused(tmp_path: Path) -> None:
    assert slow_run(tmp_path / "steps", Budget.parse("12steps"), possible=1_000_000).steps == 12
    assert slow_run(tmp_path / "auxiliary", Budget.parse("80s").auxiliary(), possible=10**9).steps == 15


def test_a_stop_buys_no_time(tmp_path: Path) -> None:
    first, second = Budget.parse("60s"), Budget.parse("60s")
    with pytest.raises(Interrupted):
        run(tmp_path, Slow(at_call={20: stop}), budget=first)
    run(tmp_path, Slow(), budget=second)
    assert second.ledger.charged_s >= 0.19


def test_known_number_of_steps_is_the_bar_s_total(tmp_path: Path) -> None:
    progress = Recorder()
    run(tmp_path, TinyModel(), progress=progress)
    assert (progress.begun_with, progress.done) == (30, 30)
    resumed = Recorder()
    with pytest.raises(Interrupted):
        run(tmp_path / "cut", TinyModel(at_call={7: stop}))
    run(tmp_path / "cut", TinyModel(), progress=resumed)
    assert (resumed.begun_with, resumed.done) == (23, 23)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("linear", [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]),
        ("cosine", [0.5, 1.0, 1.0, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125)]),
        ("inverse_sqrt", [0.5, 1.0, math.sqrt(2 / 3), math.sqrt(2 / 4), math.sqrt(2 / 5), math.sqrt(2 / 6)]),
    ],
)
def test_schedules_by_hand(tmp_path: Path, schedule: Any, expected: list[float]) -> None:
    settings = TrainingSettings(learning_rate=0.02, schedule=schedule, warmup_steps=2, max_steps=6, curve_every_steps=1)
    report = run(tmp_path, TinyModel(), settings)
    assert [point.learning_rate for point in report.curve] == pytest.approx([0.02 * factor for factor in expected])


def test_settings_refuse_impossible_betas() -> None:
    with pytest.raises(ValidationError, match=r"betas=\(0\.9, 1\.5\) must lie in"):
        TrainingSettings(betas=(0.9, 1.5))


def test_rate_factor_reaches_zero_at_the_end() -> None:
    assert rate_factor("linear", step=10, warmup_steps=0, decayed=1.0) == 0.0
    assert rate_factor("cosine", step=10, warmup_steps=0, decayed=1.0) == pytest.approx(0.0)


def test_frozen_weights_are_left_out_of_checkpoints(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    class Frozen(TinyModel):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.item.requires_grad_(False)

    whole, last = Frozen(), Frozen()
    run(tmp_path / "whole", whole)
    with pytest.raises(Interrupted):
        run(tmp_path / "cut", Frozen(at_call={7: stop}))
    assert "item.weight" not in load_file(next((tmp_path / "cut/training").glob("*/weights.safetensors")))
    run(tmp_path / "cut", last)
    assert same_weights(last, whole)
    assert count_parameters(last).trainable == count_parameters(last).total - N_ITEMS * 4


def test_tied_weights_survive_a_resume(tmp_path: Path) -> None:
    class Tied(TinyModel):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.out.weight = self.item.weight

    whole, last = Tied(), Tied()
    run(tmp_path / "whole", whole)
    with pytest.raises(Interrupted):
        run(tmp_path / "cut", Tied(at_call={7: stop}))
    run(tmp_path / "cut", last)
    assert same_weights(last, whole)
    assert last.out.weight is last.item.weight


def test_bf16_trains_and_keeps_float32_weights(tmp_path: Path) -> None:
    seen = []

    class Watched(TinyModel):
        def forward(self, rows: np.ndarray[Any, Any]) -> tuple[Tensor, int]:
            seen.append(torch.is_autocast_enabled("cpu"))
            return super().forward(rows)

    module = Watched()
    run(tmp_path, module, SETTINGS.model_copy(update={"max_epochs": 1}), precision="bf16")
    assert seen == [True] * STEPS_PER_EPOCH
    assert {p.dtype for p in module.parameters()} == {torch.float32}


def test_training_does_not_touch_the_random_numbers_of_others(tmp_path: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    run(tmp_path, TinyModel())
    assert torch.equal(torch.rand(3), expected)


def test_shards_are_disjoint_and_whole() -> None:
    batch = np.arange(10)
    parts = [shard(batch, rank, 4) for rank in range(4)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(10))
    assert [len(part) for part in parts] == [3, 3, 2, 2]


def test_batches_may_be_objects_that_cut_themselves(tmp_path: Path) -> None:
    class Rows:
        def __init__(self, rows: list[int]) -> None:
            self.rows = rows

        def __len__(self) -> int:
            return len(self.rows)

        def shard(self, rank: int, size: int) -> "Rows":
            return Rows(self.rows[rank::size])

        def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
            return np.array(self.rows, dtype=dtype)

        def __iter__(self) -> Iterator[int]:
            return iter(self.rows)

    plain, objects = TinyModel(), TinyModel()
    settings = SETTINGS.model_copy(update={"accumulate": 2})
    run(tmp_path / "plain", plain, settings)
    arrays = batches_of(8)
    train(
        FakeContext(tmp_path / "objects"),
        objects,
        batches=lambda epoch: [Rows(batch.tolist()) for batch in arrays(epoch)],
        settings=settings,
        ranker=objects,
    )
    assert same_weights(plain, objects)


def test_full_disk_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "training").write_text("in the way")
    with pytest.raises(StageFailed, match=r"could not be written to .*training.*Make room"):
        run(tmp_path, TinyModel(), SETTINGS.model_copy(update={"checkpoint_every_s": 0.0}))
    assert os.listdir(tmp_path) == ["training"]  # noqa: PTH208
