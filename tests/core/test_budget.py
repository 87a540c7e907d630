"""Budgets that several trainings of one run share."""

import time

import pytest

from recbench.core import Budget


def test_a_part_of_steps_or_examples_and_what_it_leaves() -> None:
    for unit in ("steps", "examples"):
        whole = Budget.parse(f"40{unit}")
        assert whole.part(0.25).amount == 10
        left = whole.without(steps=10, examples=10)
        assert left.amount == 30
        assert left.is_spent(steps=30, examples=30)
        assert not left.is_spent(steps=29, examples=29)


def test_a_part_of_the_seconds_that_are_left() -> None:
    whole = Budget("seconds", 100.0, started_at=time.monotonic() - 20.0, reserve_s=10.0)
    assert whole.part(0.5).seconds_left() == pytest.approx(35.0, abs=0.5)
    assert whole.seconds_left() == pytest.approx(70.0, abs=0.5)
    assert whole.without(steps=5, examples=5).seconds_left() == pytest.approx(70.0, abs=0.5)


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
    ],
)
def test_equal_budgets_are_written_alike(texts: tuple[str, ...], text: str) -> None:
    for written in texts:
        budget = Budget.parse(written)
        assert budget.text == text
        assert Budget.parse(budget.text).amount == budget.amount
    assert Budget.parse(None).text is None
