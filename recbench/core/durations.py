"""Durations as people read them, and how long work will still take."""

import time


def duration(seconds: float) -> str:
    """Text of a duration for people, such as `0.4 s`, `45 s`, `12 min`, `3 h 5 min`."""
    if seconds < 10:
        return f"{round(seconds, 1):g} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def seconds_left(began_at: float, done: float, total: float | None, now: float | None = None) -> float | None:
    """Seconds that work will still take at its pace so far; None while nobody can say.

    Args:
        began_at: start of the work by `time.monotonic()`, or by whatever clock `now` is of.
        done: units of work done.
        total: units of the whole work.
        now: the present moment; None: by `time.monotonic()`.
    """
    if not total or not done:
        return None
    return ((time.monotonic() if now is None else now) - began_at) * max(0.0, total / done - 1.0)
