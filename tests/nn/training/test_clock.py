"""What a budget of time allows while a training goes on."""

import pytest

from recbench.core.budget import Budget
from recbench.core.plugin import World
from recbench.nn.training.clock import Clock


@pytest.mark.parametrize("budget", ["100s", "100cpu-s"])
@pytest.mark.parametrize(("choice_s", "is_kept_for"), [(20.0, True), (30.0, False), (500.0, False)])
def test_a_choice_that_takes_much_of_a_budget_ends_no_training_and_is_left_out(budget: str, choice_s: float, is_kept_for: bool) -> None:
    clock = Clock(Budget.parse(budget), World(), 300.0)
    clock.step_took(0.1)
    clock.validation_took(1.0, choice_s)
    moment = clock.now(has_signal=False)
    assert moment.fits_step
    assert moment.fits_choice == is_kept_for


def test_without_a_budget_of_time_the_candidates_are_always_compared() -> None:
    for budget in (None, "1000steps"):
        clock = Clock(Budget.parse(budget), World(), 300.0)
        clock.validation_took(1.0, 500.0)
        assert clock.now(has_signal=False).fits_choice
