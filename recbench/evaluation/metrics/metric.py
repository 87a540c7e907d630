"""Definition of a metric, and the registry that finds one by its name."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from recbench.core.errors import BadRequest, PluginFailed, nearest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from recbench.core.ragged import LongArray

    FloatArray = NDArray[np.float64]
    ShortArray = NDArray[np.int16]

_NAME = re.compile(r"([a-z][a-z0-9_]*)@([1-9]\d*)")


@dataclass(frozen=True)
class Metric:
    """A score of a query from the places of its targets. A figure is its mean over the queries of a user, then over the users.

    Attributes:
        kind: name in records and options, such as `ndcg`; `ndcg@10` looks at the first 10 places.
        title: name in tables, such as `NDCG`.
        of_queries: one value per query, (n,) float64, from the ranks (R,) of all targets (0 is best, -1 a miss), the start of each
            query's ranks and the end (n + 1,), and the number of places that count. Every query has a target.
        needs_sets: whether it says something new only where a query has several targets.
        higher_is_better: its direction.
    """

    kind: str
    title: str
    of_queries: "Callable[[ShortArray, LongArray, int], FloatArray]"
    needs_sets: bool = False
    higher_is_better: bool = True


class MetricRegistry:
    """Metrics by kind: those of recbench, and those of installed distributions (entry points of `recbench.metrics`)."""

    def __init__(self, *own: Metric) -> None:
        """`own`: the metrics of recbench."""
        self._own = {metric.kind: metric for metric in own}

    @cached_property
    def _installed(self) -> Mapping[str, Metric]:
        found: dict[str, Metric] = {}
        for entry in entry_points(group="recbench.metrics"):
            metric = entry.load()
            if not isinstance(metric, Metric) or metric.kind != entry.name:
                raise PluginFailed(
                    f"The entry point {entry.name!r} of recbench.metrics gives no Metric of that kind. Correct {entry.value}."
                )
            if metric.kind in self._own:
                raise PluginFailed(f"{entry.value} defines the metric {metric.kind!r}, which recbench has. Give it another name.")
            found[metric.kind] = metric
        return found

    def find(self, kind: str) -> Metric | None:
        """The metric of that kind; None where there is none."""
        # Metrics of other distributions are looked for only where a name is none of ours: the search costs a moment.
        return self._own.get(kind) or self._installed.get(kind)

    def parse(self, name: str) -> tuple[Metric, int]:
        """`ndcg@10` as (NDCG, 10).

        Raises:
            BadRequest: no such metric.
        """
        match = _NAME.fullmatch(name)
        metric = None if match is None else self.find(match[1])
        if match is None or metric is None:
            known = [*self._own, *self._installed]
            raise BadRequest(
                f"There is no metric {name!r}.{nearest(name.partition('@')[0], known)} "
                f"Known: {', '.join(known)}, each with @ and a place, such as {known[0]}@10."
            )
        return metric, int(match[2])

    def title(self, name: str) -> str:
        """`NDCG@10` for `ndcg@10`; a figure that is no metric of ours has its own name, capitalised."""
        kind, at, place = name.partition("@")
        metric = self.find(kind)
        return (kind.replace("_", " ").capitalize() if metric is None else metric.title) + at + place
