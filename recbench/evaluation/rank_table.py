"""Rankings to ranks: the check that a model kept its contract, and the place of every target."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.ma import MaskedArray
from numpy.typing import NDArray

from recbench.core.errors import BadData, BadRequest, PluginFailed
from recbench.core.ragged import Histories, IntArray, LongArray, Targets
from recbench.core.ranking import VIEWS, Queries, Rankings, View
from recbench.core.records import MOST_COUNT
from recbench.core.visible import is_printable, short_repr

ShortArray = NDArray[np.int16]

MISS = -1
"""Rank of a target that is not in the list."""
_LONGEST_NAME = 100
_LONGEST_LIST = int(np.iinfo(np.int16).max)
_CELLS_AT_A_TIME = 1 << 22


@dataclass(frozen=True, eq=False)
class RankTable:
    """Ranks of the targets: one row per (user, target), the rows of a user side by side.

    Attributes:
        user: (R,) int32 user rows.
        target: (R,) int32 item rows.
        rank: for each view (R,) int16; 0 is best, -1 is not in the list.
        list_length: how long the lists were; no metric is defined beyond it.
        has_single_targets: each row is a query with a list of its own, though a user may have many (the temporal protocol with
            `targets=successive`); else the rows of a user are the set of targets of one query.
    """

    user: IntArray
    target: IntArray
    rank: Mapping[View, ShortArray]
    list_length: int
    has_single_targets: bool = False

    def __post_init__(self) -> None:
        if not self.rank or {len(self.target), *map(len, self.rank.values())} != {len(self.user)}:
            raise ValueError(f"every column must have {len(self.user)} rows, one per (user, target), and there must be a view")

    def __len__(self) -> int:
        return len(self.user)

    @classmethod
    def of_queries(cls, user: IntArray, targets: Targets, rank: Mapping[View, ShortArray], list_length: int) -> Self:
        """The table of B queries: `user` has one entry per query, `rank` one per target.

        Raises:
            BadData: a user has several queries, and not all of them ask for a single item.
        """
        asked_again = len(np.unique(user)) < len(user)
        if asked_again and (targets.lengths != 1).any():
            query = int((targets.lengths != 1).argmax())
            raise BadData(
                f"Some users have several queries, and query {query} asks for {targets.lengths[query]} items. "
                "Ask each user once, or for one item at a time."
            )
        return cls(np.repeat(user, targets.lengths), targets.item, rank, list_length, asked_again)

    @property
    def views(self) -> tuple[View, ...]:
        """Which views were ranked, in the order of `VIEWS` whatever the order of the rankings."""
        return tuple(view for view in VIEWS if view in self.rank)

    @cached_property
    def offsets(self) -> LongArray:
        """Start of each user's rows, and the end, (n_users + 1,) int64; a user in two places is a `BadData`."""
        offsets = user_offsets(self.user)
        users = np.sort(self.user[offsets[:-1]])
        again = users[1:][users[1:] == users[:-1]]
        if len(again):
            raise BadData(f"The rows of user {again[0]} do not stand side by side. Sort the rank table by user.")
        return offsets

    @property
    def n_users(self) -> int:
        """Number of users that have a target."""
        return len(self.offsets) - 1

    def take(self, rows: LongArray) -> "RankTable":
        """Some of the rows, in rising order: each user with those of the targets only."""
        rank = {view: rank[rows] for view, rank in self.rank.items()}
        return RankTable(self.user[rows], self.target[rows], rank, self.list_length, self.has_single_targets)


def user_offsets(user: IntArray) -> LongArray:
    """Start of each run of equal users, and the end, (n_users + 1,) int64."""
    starts = np.flatnonzero(np.diff(user, prepend=user[:1] - 1)) if len(user) else np.empty(0, np.int64)
    return np.append(starts, len(user)).astype(np.int64)


def entries_in(codes: LongArray, sorted_codes: LongArray) -> NDArray[np.bool_]:
    """Which of `codes` occur in `sorted_codes`, as (len(codes),) bool."""
    if len(sorted_codes) == 0:
        return np.zeros(len(codes), dtype=np.bool_)
    place = np.minimum(np.searchsorted(sorted_codes, codes), len(sorted_codes) - 1)
    found: NDArray[np.bool_] = sorted_codes[place] == codes
    return found


def targets_in_history(targets: Targets, histories: Histories, n_items: int) -> NDArray[np.bool_]:
    """Which targets already stand in the history of their query, (n_targets,) bool."""
    seen = np.sort(histories.row_of_entry() * n_items + histories.item)
    return entries_in(targets.row_of_entry() * n_items + targets.item, seen)


def ranks_of_targets(rankings: Rankings, targets: Targets, queries: Queries) -> dict[View, ShortArray]:
    """The place of every target in the list of its query, for each view (n_targets,) int16.

    0 is best, -1 is not in the list. A target that already stands in the history is a plain target in `keep` and a miss
    in `unseen`. Lists longer than int16 can count are a `BadRequest`.
    """
    if rankings.k > _LONGEST_LIST:
        raise BadRequest(f"Lists of {rankings.k} items are too long to rank targets in; {_LONGEST_LIST} is the limit. Ask for fewer.")
    n_items = 1 + max(int(part.max(initial=-1)) for part in (targets.item, queries.histories.item))
    in_history = targets_in_history(targets, queries.histories, n_items)
    row = targets.row_of_entry()
    block = max(1, _CELLS_AT_A_TIME // max(rankings.k, 1))
    ranks: dict[View, ShortArray] = {}
    for view in rankings.views:
        lists = rankings.view(view)
        rank = np.full(len(targets.item), MISS, dtype=np.int16)
        for start in range(0, len(row), block):
            part = slice(start, start + block)
            at_query, at_place = np.nonzero(lists[row[part]] == targets.item[part, None])
            rank[start + at_query] = at_place
        if view == "unseen":
            rank[in_history] = MISS
        ranks[view] = rank
    return ranks


def check_rankings(rankings: object, queries: Queries, *, n_items: int, k: int, first_query: int = 0) -> Rankings:
    """A copy of what a model returned, checked against the contract of `Rankings`, with the views in the order asked for.

    Args:
        rankings: what the model returned.
        queries: what it was asked.
        n_items: size of the catalogue.
        k: length of list that was asked for.
        first_query: number of the first query in the whole split, where the model was asked in batches.

    Raises:
        PluginFailed: the contract is broken; the sentence names the query and the value.
    """
    if not isinstance(rankings, Rankings):
        raise PluginFailed(f"generate returned {_kind_of(rankings)}, not Rankings. Return Rankings(queries.views, items, scores).")
    given, asked = rankings.views, queries.views
    if not isinstance(given, tuple | list) or not all(isinstance(view, str) for view in given) or sorted(given) != sorted(asked):
        raise PluginFailed(
            f"generate answered for the views {_names(given)}, asked were {_names(asked)}. "
            "Return one block of lists per view of `queries.views`."
        )
    shape = (len(asked), len(queries), k)
    order = [list(given).index(view) for view in asked]
    items = _block(rankings.items, "items", shape, np.dtype(np.int32), order, first_query)
    scores = _block(rankings.scores, "scores", shape, np.dtype(np.float32), order, first_query)
    for view, items_BK, scores_BK in zip(asked, items, scores, strict=True):
        _check_view(view, items_BK, scores_BK, queries, n_items, first_query)
    return Rankings(asked, items, scores, _checked_counters(rankings.counters))


def _block(array: object, name: str, shape: tuple[int, int, int], kind: np.dtype[Any], order: list[int], first_query: int) -> NDArray[Any]:
    """A copy of one array (V, B, k), the views in the order asked for."""
    if not isinstance(array, np.ndarray):
        raise PluginFailed(f"generate returned {name} as {_kind_of(array)}; a numpy array of {kind} is needed. Convert them.")
    if isinstance(array, MaskedArray):
        raise PluginFailed(
            f"generate returned {name} as a masked array, whose mask no list has. Use a plain array and put -1 and -inf there."
        )
    if array.shape != shape:
        raise PluginFailed(
            f"generate returned {name} of shape {array.shape}; {shape[1]} queries from number {first_query} on "
            f"need {shape}: (views, queries, k). Fill short lists with -1."
        )
    if array.dtype != kind:
        raise PluginFailed(f"generate returned {name} of type {array.dtype}; {kind} is needed. Convert them.")
    # A copy, as the model may go on writing into its own array; a plain one, as a subclass may answer comparisons as it likes.
    copy = np.array(array, subok=False)
    return copy if order == sorted(order) else copy[order]


def _checked_counters(counters: object) -> dict[str, int]:
    if not isinstance(counters, Mapping):
        raise PluginFailed(f"generate returned counters as {_kind_of(counters)}; a mapping from names to whole numbers is needed.")
    checked = {}
    for name, count in counters.items():
        number = int(count) if isinstance(count, int | np.integer) and not isinstance(count, bool) else -1
        if not isinstance(name, str) or not name or not is_printable(name, _LONGEST_NAME) or not 0 <= number <= MOST_COUNT:
            raise PluginFailed(
                f"generate returned the counter {short_repr(name)} = {short_repr(count)}; a printable name of at most {_LONGEST_NAME} "
                "characters and a whole number from 0 to 2^63 - 1 are needed."
            )
        checked[str.__str__(name)] = number
    return checked


def _kind_of(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _names(views: object) -> str:
    if not isinstance(views, tuple | list):
        return _kind_of(views)
    return ", ".join(view if isinstance(view, str) else short_repr(view) for view in views) or "none"


def _check_view(view: View, items_BK: IntArray, scores_BK: NDArray[np.float32], queries: Queries, n_items: int, first_query: int) -> None:
    def refuse(wrong_BK: NDArray[np.bool_], problem: str, advice: str) -> None:
        """Raise for the first place marked in `wrong_BK`, where there is one."""
        if not wrong_BK.any():
            return
        query, place = divmod(int(wrong_BK.argmax()), wrong_BK.shape[1])
        what = problem.format(place=place, item=items_BK[query, place], score=scores_BK[query, place])
        raise _broken(view, query, what, advice, queries, first_query)

    if items_BK.shape[1] == 0:
        return
    is_item_BK = items_BK >= 0
    refuse(
        (items_BK < -1) | (items_BK >= n_items),
        "place {place} holds item row {item}",
        f"Item rows run from 0 to {n_items - 1}; -1 fills a short list.",
    )
    refuse(
        _shifted(~is_item_BK[:, :-1] & is_item_BK[:, 1:]),
        "place {place} holds item row {item} after a place without item",
        "Move -1 to the end of the list.",
    )
    refuse(np.isnan(scores_BK), "the score at place {place} is NaN", "Look for a division by zero or an overflow in the model.")
    refuse(
        is_item_BK & ~np.isfinite(scores_BK),
        "the score of item row {item} at place {place} is {score}",
        "Scores of items must be finite; leave out what must not be shown.",
    )
    refuse(
        ~is_item_BK & (scores_BK != -np.inf),
        "place {place} holds no item and yet the score {score}",
        "Give -inf to places without item.",
    )
    refuse(
        _shifted(scores_BK[:, 1:] > scores_BK[:, :-1]),
        "the score {score} at place {place} is higher than the one before",
        "Sort each list by falling score.",
    )
    sorted_BK = np.sort(items_BK, axis=1)
    repeated_BK = (sorted_BK[:, 1:] == sorted_BK[:, :-1]) & (sorted_BK[:, 1:] >= 0)
    if repeated_BK.any():
        query, place = divmod(int(repeated_BK.argmax()), repeated_BK.shape[1])
        what = f"item row {sorted_BK[query, place]} stands in the list more than once"
        raise _broken(view, query, what, "Return distinct items.", queries, first_query)
    is_tied = (scores_BK[:, 1:] == scores_BK[:, :-1]) & is_item_BK[:, 1:]
    refuse(
        _shifted(is_tied & (items_BK[:, 1:] < items_BK[:, :-1])),
        "item row {item} at place {place} has the score {score} of the item before it, whose row is larger",
        "At equal score the smaller item row comes first (rule 8); compare scores as float32.",
    )
    if view == "unseen":
        _check_unseen(sorted_BK, queries, n_items, first_query)


def _shifted(wrong: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Marks of neighbouring places, moved to the second place of each pair."""
    return np.pad(wrong, ((0, 0), (1, 0)))


def _check_unseen(sorted_BK: IntArray, queries: Queries, n_items: int, first_query: int) -> None:
    # -1 sorts first and would give the code of the last item of the query before; twice the width keeps them apart.
    width = 2 * n_items + 1
    rows_B1 = np.arange(len(sorted_BK), dtype=np.int64)[:, None]
    listed = (rows_B1 * width + sorted_BK).ravel()
    histories = queries.histories
    row = histories.row_of_entry()
    seen = entries_in(row * width + histories.item, listed)
    if seen.any():
        entry = int(seen.argmax())
        what = f"item row {histories.item[entry]} stands in the history"
        raise _broken("unseen", int(row[entry]), what, "Exclude the history in this view.", queries, first_query)


def _broken(view: View, query: int, what: str, advice: str, queries: Queries, first_query: int) -> PluginFailed:
    user = queries.user_ids[query]
    return PluginFailed(f"Query {first_query + query} (user {user}), view {view}: {what}. {advice}")
