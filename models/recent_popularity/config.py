"""Settings of recent popularity."""

from typing import Literal

from pydantic import PositiveInt

from recbench.core import PluginConfig


class RecentPopularityConfig(PluginConfig):
    """How far back to count."""

    window_days: PositiveInt | Literal["validation"] = "validation"
    """Events of so many days before the end of the train part count; `validation` picks from `candidates_days`."""
    candidates_days: tuple[PositiveInt, ...] = (7, 30, 90, 365)
    """Windows that are tried on the validation users."""
