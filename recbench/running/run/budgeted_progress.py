"""Progress display that enforces a budget of time in work which does not check it."""

from collections.abc import Iterator
from contextlib import contextmanager

from recbench.core.budget import Budget
from recbench.core.durations import seconds_left
from recbench.core.errors import BudgetTooSmall
from recbench.core.progress import Progress, Task


class BudgetedProgress:
    """Display that forwards to another one, and raises `BudgetTooSmall` at the first step after the end of a budget of time.

    Stages that train nothing, such as vectors of texts, know of no budget. A run whose budget ends in one of them can train nothing.
    """

    def __init__(self, shown: Progress, budget: Budget) -> None:
        self._shown, self._budget = shown, budget

    @contextmanager
    def task(self, title: str, total: float | None = None) -> Iterator[Task]:
        with self._shown.task(title, total) as shown:
            yield _BudgetedTask(shown, title, total, self._budget)


class _BudgetedTask:
    def __init__(self, shown: Task, title: str, total: float | None, budget: Budget) -> None:
        self._shown, self._title, self._total, self._budget = shown, title, total, budget
        self._done, self._start = 0.0, budget.now()

    def advance(self, n: float = 1) -> None:
        self._shown.advance(n)
        self._done += n
        if self._budget.is_timed and self._budget.used_s() > self._budget.amount:
            rest_s = seconds_left(self._start, self._done, self._total, self._budget.now())
            share = "" if rest_s is None else f", {min(1.0, self._done / (self._total or 1.0)):.0%} done, {rest_s:.0f} s more to go"
            least_s = self._budget.used_s() + self._budget.kept_back_s + (rest_s or 0.0)
            raise BudgetTooSmall(
                f"The budget of {self._budget} ended in {self._title!r}{share}: {self._budget.spending()}. "
                f"Give at least {self._budget.enough(least_s)}, and more for the training itself."
            )

    def show(self, text: str) -> None:
        self._shown.show(text)

    def total(self, total: float) -> None:
        self._shown.total(total)
        self._total = total
