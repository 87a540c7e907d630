"""Whether a budget of time is long enough, told from the pace of the first steps."""

from recbench.core.budget import AUXILIARY_SHARE, Budget
from recbench.core.errors import BudgetTooSmall

PACE_STEPS = 10
"""After so many steps the pace is known well enough to say whether a budget holds a pass of the examples."""
_TOLERANCE = 1.1
"""A budget that falls short by no more than this factor is tried: the first steps are slower than the others."""


def is_paced(budget: Budget) -> bool:
    """Whether a training with this budget can be refused for its pace: one of time, and no auxiliary training."""
    return budget.is_timed and not budget.is_auxiliary


def refuse_less_than_a_pass(budget: Budget, pace: float, *, possible: int, seen: int) -> None:
    """Raise `BudgetTooSmall` where a budget of time ends before every example was seen once.

    Args:
        budget: of the run, with the time for the final ranking set aside.
        pace: examples per second so far, as the budget counts seconds.
        possible: distinct examples of the train part.
        seen: examples seen so far.
    """
    needed_s = max(possible - seen, 0) / pace
    if needed_s <= budget.seconds_left() * _TOLERANCE:
        return
    enough_s = budget.used_s() + budget.kept_back_s + needed_s
    if budget.ledger.auxiliary >= 0.99 * AUXILIARY_SHARE * budget.amount:
        # An auxiliary training that used its share up takes its share of a larger budget, too.
        enough_s = (enough_s - budget.ledger.auxiliary) / (1.0 - AUXILIARY_SHARE)
    raise BudgetTooSmall(
        f"A budget of {budget} cannot train one pass: {budget.spending()}, and one pass of {possible:,} examples takes {needed_s:.0f} s at "
        f"{pace:,.0f} examples/s. Give at least {budget.enough(enough_s)}, or choose a smaller preset."
    )
