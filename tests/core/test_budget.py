"""Budgets that several trainings of one run share."""

import subprocess
import sys
import time
from dataclasses import replace

import pytest

from recbench.core import Budget
from recbench.core.budget import AUXILIARY_SHARE, Ledger
from recbench.core.elapsed import Elapsed, processor_seconds
from recbench.core.errors import BadConfig


def test_a_part_of_steps_or_examples_and_what_it_leaves() -> None:
    for unit in ("steps", "examples"):
        whole = Budget.parse(f"40{unit}")
        assert whole.part(0.25).amount == 10
        left = whole.without(steps=10, examples=10)
        assert left.amount == 30
        assert left.is_spent(steps=30, examples=30)
        assert not left.is_spent(steps=29, examples=29)


def test_a_part_of_the_seconds_that_are_left() -> None:
    whole = Budget("seconds", 100.0, started_at=time.monotonic() - 20.0, ledger=Ledger(reserve_s=10.0))
    assert whole.part(0.5).seconds_left() == pytest.approx(35.0, abs=0.5)
    assert whole.seconds_left() == pytest.approx(70.0, abs=0.5)
    assert whole.without(steps=5, examples=5).seconds_left() == pytest.approx(70.0, abs=0.5)


def burn(seconds: float) -> None:
    """Spend so much processor time."""
    end = processor_seconds() + seconds
    while processor_seconds() < end:
        sum(range(1000))


def test_processor_time_passes_with_work_alone() -> None:
    budget = Budget.parse("10cpu-s")
    assert budget.unit == "cpu-seconds"
    time.sleep(0.3)
    assert budget.used_s() < 0.2
    burn(0.5)
    assert budget.used_s() == pytest.approx(0.5, abs=0.2)
    assert budget.seconds_left() == pytest.approx(9.5, abs=0.2)
    subprocess.run([sys.executable, "-c", "sum(range(20_000_000))"], check=True)
    assert budget.used_s() > 0.6
    fresh = budget.from_now()
    assert fresh.seconds_left() == pytest.approx(10.0, abs=0.1)
    wall = Budget.parse("10s")
    assert wall.from_now() is wall


def test_processor_time_is_charged_as_such_and_keeps_nothing_back_for_the_ranking() -> None:
    whole = Budget.parse("100cpu-s")
    whole.ledger.reserve_s = 30.0
    whole.charge(Elapsed(40.0, 10.0))
    assert whole.seconds_left() == pytest.approx(90.0, abs=0.5)
    assert whole.part(0.5).seconds_left() == pytest.approx(45.0, abs=0.5)
    assert whole.auxiliary().seconds_left() == pytest.approx(25.0, abs=0.5)
    whole.charge_auxiliary(Elapsed(1.0, 20.0), steps=1, examples=1)
    assert whole.auxiliary().seconds_left() == pytest.approx(5.0, abs=0.5)
    assert whole.auxiliary_text() == "25cpu-s"
    assert "ranking" not in whole.spending()
    assert whole.enough(16.0) == "--budget 20cpu-s"


def test_a_stopped_attempt_at_an_auxiliary_training_counts_for_the_run() -> None:
    for text in ("100s", "100cpu-s"):
        whole = Budget.parse(text)
        part = whole.auxiliary()
        part.charge_attempt(Elapsed(7.0, 7.0))
        assert whole.seconds_left() == pytest.approx(93.0, abs=0.5)
        assert part.seconds_left() == pytest.approx(18.0, abs=0.5)
        # What was found in the cache is charged by who asks for it.
        part.charge(Elapsed(5.0, 5.0))
        assert whole.seconds_left() == pytest.approx(93.0, abs=0.5)


def test_a_part_of_no_bound_is_no_bound() -> None:
    assert not Budget().part(0.1).is_spent(steps=10**9, examples=10**9)


@pytest.mark.parametrize(
    ("texts", "text"),
    [
        (("900s", "15m", "0.25h", " 15 m "), "15m"),
        (("1.5h", "90m", "5400s"), "90m"),
        (("7200s", "2h"), "2h"),
        (("310s", "310.0s"), "310s"),
        (("0.5s",), "0.5s"),
        (("1000000examples",), "1000000examples"),
        (("5000steps", "5000.0steps"), "5000steps"),
        (("600cpu-s", "10cpu-min", " 10 cpu-min"), "10cpu-min"),
        (("60cpu-min", "1cpu-h"), "1cpu-h"),
        (("0.5cpu-s",), "0.5cpu-s"),
    ],
)
def test_equal_budgets_are_written_alike(texts: tuple[str, ...], text: str) -> None:
    for written in texts:
        budget = Budget.parse(written)
        assert budget.text == text
        assert Budget.parse(budget.text).amount == budget.amount
    assert Budget.parse(None).text is None


@pytest.mark.parametrize(
    "text",
    ["0.5steps", "2.5examples", "0steps", "0.0s", "1e3s", "9" * 400 + "steps", "9" * 400 + "h", "10", "-5s", "5cpu", "10cpu-m"],
)
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(BadConfig, match="--budget"):
        Budget.parse(text)


def test_parts_of_a_budget_share_what_is_set_aside_and_charged() -> None:
    whole = Budget("seconds", 100.0)
    part, rest = whole.part(0.5), whole.without(steps=1, examples=1)
    whole.ledger.reserve_s = 30.0
    whole.charge(Elapsed(10.0, 99.0))
    assert whole.seconds_left() == pytest.approx(60.0, abs=0.5)
    assert rest.seconds_left() == pytest.approx(60.0, abs=0.5)
    assert part.seconds_left() == pytest.approx(10.0, abs=0.5)


def test_auxiliary_trainings_get_a_quarter_in_all() -> None:
    whole = Budget.parse("240s")
    first = whole.auxiliary()
    assert first.is_auxiliary
    assert first.seconds_left() == pytest.approx(60.0, abs=0.5)
    whole.charge_auxiliary(Elapsed(45.0, 1.0), steps=10, examples=100)
    assert whole.auxiliary().seconds_left() == pytest.approx(15.0, abs=0.5)
    whole.charge_auxiliary(Elapsed(20.0, 1.0), steps=10, examples=100)
    assert whole.auxiliary().is_spent(steps=0, examples=0)
    # The key of a stage must not depend on what others took.
    assert whole.auxiliary_text() == "1m"
    assert AUXILIARY_SHARE == 0.25


def test_auxiliary_trainings_to_come_get_an_equal_part_and_what_the_first_leaves() -> None:
    whole = Budget.parse("240s")
    assert whole.auxiliary(trainings_left=2).seconds_left() == pytest.approx(20.0, abs=0.5)
    assert whole.auxiliary_text(trainings_left=2) == "20s"
    whole.charge_auxiliary(Elapsed(8.0, 1.0), steps=10, examples=100)
    assert whole.auxiliary(trainings_left=1).seconds_left() == pytest.approx(26.0, abs=0.5)
    whole.charge_auxiliary(Elapsed(26.0, 1.0), steps=10, examples=100)
    assert whole.auxiliary().seconds_left() == pytest.approx(26.0, abs=0.5)
    assert Budget.parse("1000steps").auxiliary(trainings_left=2).amount == 83
    assert not Budget.parse(None).auxiliary(trainings_left=2).is_spent(steps=10**9, examples=10**9)
    # What is said to do does.
    assert "Give at least --budget 12steps" in Budget.parse("1steps").auxiliary(trainings_left=2).used_up_before()
    assert Budget.parse("12steps").auxiliary(trainings_left=2).amount == 1


def test_auxiliary_steps_are_steps_of_the_run() -> None:
    for unit in ("steps", "examples"):
        whole = Budget.parse(f"1000{unit}")
        assert whole.auxiliary().amount == 250
        whole.charge_auxiliary(Elapsed(1e6, 1e6), steps=100, examples=100)
        assert whole.auxiliary().amount == 150
        assert whole.limit == 900
        assert whole.is_spent(steps=900, examples=900)
        assert not whole.is_spent(steps=899, examples=899)
        assert whole.part(0.5).limit == 450
        assert whole.without(steps=100, examples=100).limit == 800


def test_auxiliary_trainings_of_an_unlimited_run_are_unlimited() -> None:
    whole = Budget.parse(None)
    whole.charge_auxiliary(Elapsed(1e9, 1e9), steps=10**9, examples=10**9)
    assert not whole.auxiliary().is_spent(steps=10**9, examples=10**9)
    assert whole.auxiliary_text() is None


@pytest.mark.parametrize(
    ("budget", "sentence"),
    [
        (Budget("seconds", 10.0, ledger=Ledger(reserve_s=20.0, charged_s=99.5)), "--budget 150s, more for a whole pass."),
        (Budget("steps", 8.0, ledger=Ledger(auxiliary=8.0)), "(auxiliary trainings took 8 of them). Give at least --budget 9steps"),
        (Budget.parse("1steps").auxiliary(), "may spend 25% of a run's). Give at least --budget 4steps"),
        (
            replace(Budget.parse("40s").auxiliary(), ledger=Ledger(charged_s=11.9)),
            "may spend 25% of a run's). Give at least --budget 60s",
        ),
    ],
)
def test_a_budget_that_was_used_up_says_how_much_is_needed_at_least(budget: Budget, sentence: str) -> None:
    assert sentence in replace(budget, started_at=time.monotonic()).used_up_before()


def test_a_training_without_a_step_and_without_a_budget_blames_no_budget() -> None:
    assert "--budget" not in Budget().used_up_before()
