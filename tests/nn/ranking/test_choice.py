"""Settings chosen by validation: the best, the first of equal ones, none without a choice."""

from pathlib import Path

import pytest

from recbench.core import BadRequest
from recbench.nn.ranking import best_by_validation
from recbench.testing import LightContext, interactions


class _Holder:
    """A ranker in name only, for a judge that reads what was put into it."""

    value = ""

    def generate(self, *_: object) -> None:
        raise AssertionError("nobody ranks here")


def choose(candidates: list[str], values: dict[str, float], folder: Path) -> tuple[str, str, list[str]]:
    """The choice, what the ranker was left with, and what was looked at."""
    holder, seen = _Holder(), []

    def judge(ranker: object) -> float:
        assert ranker is holder
        seen.append(holder.value)
        return values[holder.value]

    context = LightContext(interactions([[0]], 1), folder, judge=judge)
    chosen = best_by_validation(context, holder, candidates, lambda candidate: setattr(holder, "value", candidate))
    return chosen, holder.value, seen


def test_the_best_is_kept_and_of_equal_ones_the_first(tmp_path: Path) -> None:
    assert choose(["a", "b", "c"], {"a": 0.1, "b": 0.3, "c": 0.2}, tmp_path) == ("b", "b", ["a", "b", "c"])
    assert choose(["a", "b", "c"], {"a": 0.1, "b": 0.3, "c": 0.3}, tmp_path) == ("b", "b", ["a", "b", "c"])


def test_a_single_setting_is_not_validated(tmp_path: Path) -> None:
    assert choose(["a"], {}, tmp_path) == ("a", "a", [])
    context = LightContext(interactions([[0]], 1), tmp_path)
    with pytest.raises(BadRequest, match="no judge"):
        best_by_validation(context, _Holder(), ["a", "b"], lambda _: None)
