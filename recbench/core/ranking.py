"""Questions to a model (queries) and its answers (rankings)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from recbench.core.interactions import StringArray
    from recbench.core.ragged import Histories, IntArray, LongArray

View: TypeAlias = Literal["keep", "unseen"]
"""`keep`: items of the history may be recommended again. `unseen`: they are excluded exactly."""

KEEP: View = "keep"
UNSEEN: View = "unseen"
VIEWS: tuple[View, ...] = (KEEP, UNSEEN)
BOTH = "both"
"""In place of a view: all that the task has."""


@dataclass(frozen=True, eq=False)
class Queries:
    """A batch of B questions "what comes next?".

    Attributes:
        histories: B lists of item rows, oldest first.
        user: (B,) int32 user rows; -1 for somebody who is not in the data set.
        user_ids: (B,) the source's user ids.
        views: which rankings are wanted.
        timestamp: (nnz of histories,) int64 seconds since 1970, `UNKNOWN_TIME` where one is not known; None where none is, as for
            somebody who is recommended to by item ids alone.
    """

    histories: "Histories"
    user: "IntArray"
    user_ids: "StringArray"
    views: tuple[View, ...] = VIEWS
    timestamp: "LongArray | None" = None

    def __len__(self) -> int:
        return len(self.histories)

    def take(self, rows: "NDArray[np.integer] | Sequence[int]") -> "Queries":
        """The questions `rows`, in that order."""
        import numpy as np

        from recbench.core.ragged import Histories, flat_index

        picked = np.asarray(rows, dtype=np.int64)
        index, offsets = flat_index(self.histories.offsets, picked)
        return Queries(
            Histories(self.histories.item[index], offsets),
            self.user[picked],
            self.user_ids[picked],
            self.views,
            None if self.timestamp is None else self.timestamp[index],
        )

    def sealed(self) -> "Queries":
        """A copy with read-only arrays, for code that must not change these questions."""
        from recbench.core.ragged import Histories, sealed_copy

        return Queries(
            Histories(sealed_copy(self.histories.item), sealed_copy(self.histories.offsets)),
            sealed_copy(self.user),
            sealed_copy(self.user_ids),
            tuple(self.views),
            None if self.timestamp is None else sealed_copy(self.timestamp),
        )


@dataclass(frozen=True, eq=False)
class Rankings:
    """Answers to B queries in V views, best item first. Equal scores: the smaller item row first.

    Attributes:
        views: (V,) names, in the order of the first axis.
        items: (V, B, k) int32 item rows, distinct within a list; -1 where there is no further item.
        scores: (V, B, k) float32, never rising along a list; -inf where there is no item.
        counters: totals a generative model reports: `sequences`, `invalid`, `duplicates`.
    """

    views: tuple[View, ...]
    items: "IntArray"
    scores: "NDArray[np.float32]"
    counters: Mapping[str, int] = field(default_factory=dict)

    def view(self, name: View) -> "IntArray":
        """The lists of one view, (B, k) int32."""
        lists: IntArray = self.items[self.views.index(name)]
        return lists

    @property
    def k(self) -> int:
        """Length of the lists."""
        return int(self.items.shape[2])
