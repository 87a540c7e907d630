"""Durations for people: short, and never zero for what can be seen."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbench.core.durations import duration, seconds_left


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.43, "0.4 s"),
        (5.0, "5 s"),
        (9.97, "10 s"),
        (45.4, "45 s"),
        (99.9, "100 s"),
        (720.0, "12 min"),
        (3599.0, "1 h 0 min"),
        (11_100.0, "3 h 5 min"),
    ],
)
def test_a_duration_is_said_in_the_units_that_people_use(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.floats(0.0, 1e7))
def test_a_duration_read_again_is_off_by_half_of_its_last_unit_at_most(seconds: float) -> None:
    words = duration(seconds).split()
    units = {"h": 3600.0, "min": 60.0, "s": 1.0}
    read = sum(float(number) * units[unit] for number, unit in zip(words[::2], words[1::2], strict=True))
    tenth = 0.1 if seconds < 10 else 1.0
    assert abs(read - seconds) <= (30.0 if words[-1] == "min" else tenth / 2) + 1e-6


def test_seconds_left_follow_the_pace_so_far() -> None:
    began_at = time.monotonic() - 10.0
    assert seconds_left(began_at, 5, 20) == pytest.approx(30.0, rel=0.01)
    assert seconds_left(began_at, 21, 20) == 0.0, "more was done than was said"
    assert seconds_left(began_at, 0, 20) is None
    assert seconds_left(began_at, 5, None) is None
