"""Ranked lists that another toolkit wrote, read and put into the order and the row numbers of a split."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recbench.core.errors import BadData, BadRequest
from recbench.core.interactions import StringArray
from recbench.core.ragged import Histories, IntArray, LongArray
from recbench.core.ranking import KEEP, UNSEEN, VIEWS, Rankings, View
from recbench.core.visible import listed
from recbench.data import Split
from recbench.data.tables import read_csv, read_parquet
from recbench.tasks import Task

_IDS = ("user_id", "item_id", "view")
_CSV, _PARQUET = (".csv", ".csv.gz"), (".parquet",)
FloatArray = NDArray[np.float64]
_Refuse = Callable[[int, str], BadData]


@dataclass(frozen=True, eq=False)
class ForeignLists:
    """The rows of a file, in its order.

    Attributes:
        file: its name, for messages.
        user, item: (n,) int32 numbers of ids.
        user_ids, item_ids: the ids that those numbers stand for.
        rank: (n,) float64; None where the file has no such column.
        score: (n,) float64; None where the file has no such column. One of the two is there.
        views: row numbers of each view; under None all rows, where the file does not say what view they are.
    """

    file: str
    user: IntArray
    item: IntArray
    user_ids: StringArray
    item_ids: StringArray
    rank: FloatArray | None
    score: FloatArray | None
    views: Mapping[View | None, LongArray]


@dataclass(frozen=True, eq=False)
class PlacedLists:
    """The lists of a split's test users.

    Attributes:
        rankings: one list per test query; where nothing is said about a user an empty one.
        has_scores: True where the scores are the file's; if not they only count down.
        without_list: test users without a list, per view.
        not_asked: users of the file that have no test query.
        cut: lists that were longer than `rankings.k`.
    """

    rankings: Rankings
    has_scores: bool
    without_list: Mapping[View, int]
    not_asked: int
    cut: int


def read_lists(path: Path) -> ForeignLists:
    """The rows of a csv or parquet file with the columns user_id, item_id, rank or score, and view where there is one.

    Raises:
        BadData: the file is missing, damaged, lacks a column, or holds an empty id or a rank or score that is no number.
    """
    table = _table(path)
    file = path.name
    for name in ("user_id", "item_id"):
        if name not in table.column_names:
            has = listed(table.column_names)
            raise BadData(f"{file} has no column {name!r}; it has {has}. Rename or add the column.")
    if not {"rank", "score"} & set(table.column_names):
        has = listed(table.column_names)
        raise BadData(f"{file} has neither a column 'rank' nor a column 'score'; it has {has}. Add one of them.")
    if not len(table):
        raise BadData(f"{file} has no rows. Write one row per user and item of the lists.")
    user, user_ids = _ids(table, "user_id", file)
    item, item_ids = _ids(table, "item_id", file)
    return ForeignLists(
        file, user, item, user_ids, item_ids, _numbers(table, "rank", file), _numbers(table, "score", file), _views(table, file)
    )


def _table(path: Path) -> pa.Table:
    if not path.is_file():
        raise BadData(f"{path}: there is no such file. Check the path.")
    if path.name.endswith(_CSV):
        return read_csv(path, _IDS)
    if not path.name.endswith(_PARQUET):
        raise BadData(f"{path}: the name ends neither in .csv nor in .parquet. Convert or rename it.")
    return read_parquet(path)


def _ids(table: pa.Table, name: str, file: str) -> tuple[IntArray, StringArray]:
    """Numbers (n,) int32 of a column's ids, and the ids."""
    column = table.column(name)
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)):
        raise BadData(f"{file}: the column {name!r} holds {column.type}, not strings or whole numbers. Convert it.")
    column = pc.fill_null(column.cast(pa.large_string()), "").combine_chunks()
    empty = pc.index(column, "").as_py()
    if empty >= 0:
        raise BadData(f"{file}: row {empty} has no {name}. Remove or complete it.")
    encoded = pc.dictionary_encode(column)
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    return encoded.indices.to_numpy().astype(np.int32), encoded.dictionary.to_numpy(zero_copy_only=False)


def _numbers(table: pa.Table, name: str, file: str) -> FloatArray | None:
    if name not in table.column_names:
        return None
    column = table.column(name)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise BadData(f"{file}: the column {name!r} holds {column.type}, not numbers. Correct it.")
    try:
        values: FloatArray = column.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid as error:  # above 2 ** 53 neighbouring whole numbers are one float, and an order would be lost
        raise BadData(f"{file}: the column {name!r} holds a number too large to be exact: {error} Scale the column.") from None
    odd = ~np.isfinite(values)
    if odd.any():
        row = int(odd.argmax())
        raise BadData(f"{file}: the {name} in row {row} is {values[row]}; {int(odd.sum())} such rows. Leave out what must not be shown.")
    return values


def _views(table: pa.Table, file: str) -> dict[View | None, LongArray]:
    if "view" not in table.column_names:
        return {None: np.arange(len(table), dtype=np.int64)}
    names = np.array([str(value) for value in table.column("view").to_pylist()], dtype=object)
    unknown = sorted(set(names) - set(VIEWS))
    if unknown:
        raise BadData(f"{file}: the column 'view' holds {unknown[0]!r}. Write {' or '.join(VIEWS)}.")
    found: dict[View | None, LongArray] = {view: np.flatnonzero(names == view) for view in VIEWS}
    return {view: rows for view, rows in found.items() if len(rows)}


def place_lists(lists: ForeignLists, split: Split, views: Sequence[View], task: Task) -> PlacedLists:
    """The lists of the test users of a split, best first, cut to the task's length.

    Where there is a column `rank` it decides; else the higher score goes first and, of equal ones, the smaller item row. The lists are
    as long as the longest in the file, and as the task's where somebody's list is as long as it can be.

    Raises:
        BadData: ids that the data set lacks, repeated items, ranks with gaps, scores that contradict ranks, no list of any test user,
            an item of the history in the view `unseen`, lists too short for the main metric.
        BadRequest: users of this split are asked more than once, which a list per user cannot answer.
    """
    part, longest = split.test, task.list_length
    if len(np.unique(part.user)) < len(part):
        raise BadRequest(f"The protocol {split.protocol} asks users several times; a file with one list per user cannot answer that.")
    user = _rows_of(lists.user_ids, split.user_ids, "user", lists.file)[lists.user]
    item = _rows_of(lists.item_ids, split.items.item_ids, "item", lists.file)[lists.item]
    query_of_user = np.full(len(split.user_ids), -1, dtype=np.int64)
    query_of_user[part.user] = np.arange(len(part))
    sorted_views = [_sort(lists, view, query_of_user[user], user, item, split, longest) for view in views]
    k = min(part_k.k for part_k in sorted_views)
    if k < task.main_cutoff:
        raise BadData(
            f"{lists.file}: the longest list has {k} items; boards sort by {task.main_title}. "
            f"Write lists of at least {task.main_cutoff}, better {longest}."
        )
    shape = (len(views), len(part), k)
    items = np.full(shape, -1, dtype=np.int32)
    scores = np.full(shape, -np.inf, dtype=np.float32)
    for index, entries in enumerate(sorted_views):
        kept = entries.place < k
        at = (index, entries.query[kept], entries.place[kept])
        items[at] = entries.item[kept]
        with np.errstate(over="ignore"):  # beyond float32 all are alike; their order is settled
            scores[at] = entries.score[kept] if entries.score is not None else -entries.place[kept]
    return PlacedLists(
        rankings=Rankings(tuple(views), items, scores),
        has_scores=lists.score is not None,
        without_list={view: int((items[index, :, 0] < 0).sum()) for index, view in enumerate(views)},
        not_asked=len(np.unique(user[query_of_user[user] < 0])),
        cut=sum(int((entries.lengths > k).sum()) for entries in sorted_views),
    )


def holds_history(rankings: Rankings, histories: Histories) -> bool:
    """Tell whether any list of the view `keep` holds an item of its query's history."""
    width = 1 + max(int(rankings.items.max(initial=0)), int(histories.item.max(initial=0)))
    lists = rankings.view(KEEP)
    row, place = np.nonzero(lists >= 0)
    listed = row * width + lists[row, place]
    return bool(np.isin(listed, histories.row_of_entry() * width + histories.item).any())


@dataclass(frozen=True, eq=False)
class _Entries:
    """The entries of one view that belong to a test query, by query and place."""

    query: LongArray
    item: IntArray
    score: FloatArray | None
    place: LongArray
    lengths: LongArray
    """Length of each query's list."""
    k: int
    """Length at which the lists are cut."""


def _sort(lists: ForeignLists, view: View, query: LongArray, user: IntArray, item: IntArray, split: Split, longest: int) -> _Entries:
    rows = lists.views[view] if view in lists.views else lists.views[None]
    rows = rows[query[rows] >= 0]
    part = split.test
    if not len(rows):
        raise BadData(f"{lists.file}: view {view} holds no list of any of the {len(part)} test users. Write lists of the test users.")
    n_items = len(split.items)

    def refuse(row: int, what: str) -> BadData:
        return BadData(f"{lists.file}, view {view}, user {split.user_ids[user[row]]!r}: {what}")

    by_item = rows[np.lexsort((item[rows], query[rows]))]
    again = (np.diff(query[by_item]) == 0) & (np.diff(item[by_item]) == 0)
    if again.any():
        row = int(by_item[int(again.argmax())])
        raise refuse(row, f"item {split.items.item_ids[item[row]]!r} stands in the list more than once. Write each item once.")
    if view == UNSEEN:
        histories = part.histories
        seen = np.isin(query[rows] * n_items + item[rows], histories.row_of_entry() * n_items + histories.item)
        if seen.any():
            row = int(rows[int(seen.argmax())])
            # A split of sets has no view in which what is shown may stand.
            fault = (
                "is shown. Leave it out." if part.is_of_strangers else "stands in the history. Leave it out, or import the lists as keep."
            )
            what = f"item {split.items.item_ids[item[row]]!r} {fault}"
            raise refuse(row, what)
    if lists.rank is not None:
        rows = rows[np.lexsort((lists.rank[rows], query[rows]))]
    else:
        assert lists.score is not None
        rows = rows[np.lexsort((item[rows], -lists.score[rows], query[rows]))]
    lengths = np.bincount(query[rows], minlength=len(part))
    starts = np.cumsum(lengths) - lengths
    place = np.arange(len(rows)) - starts[query[rows]]
    if lists.rank is not None:
        _check_ranks(lists, rows, place, refuse)
    possible = np.full(len(part), n_items)
    if view == UNSEEN:
        distinct = np.unique(part.histories.row_of_entry() * n_items + part.histories.item) // n_items
        possible -= np.bincount(distinct, minlength=len(part))
    is_whole = bool((lengths >= np.minimum(longest, possible)).any())
    return _Entries(
        query=query[rows],
        item=item[rows],
        score=None if lists.score is None else lists.score[rows],
        place=place,
        lengths=lengths,
        k=longest if is_whole else int(lengths.max()),
    )


def _check_ranks(lists: ForeignLists, rows: LongArray, place: LongArray, refuse: _Refuse) -> None:
    """Raise a `BadRequest` unless the sorted ranks of each user count up from 0, or all from 1, and no score contradicts them."""
    assert lists.rank is not None
    rank = lists.rank[rows]
    first = 0 if rank.min() == 0 else 1
    odd = rank != place + first
    if odd.any():
        entry = int(odd.argmax())
        found = f"{rank[entry]:g}"
        if place[entry] and rank[entry] == rank[entry - 1]:
            what = f"rank {found} is given twice"
        else:
            what = f"rank {found} stands where {place[entry] + first} is due"
        raise refuse(int(rows[entry]), f"{what}. Number every list from {first} on without gaps, or leave the column out and give scores.")
    if lists.score is None:
        return
    score = lists.score[rows]
    rises = (place[1:] > 0) & (score[1:] > score[:-1])
    if rises.any():
        entry = 1 + int(rises.argmax())
        what = f"the score {score[entry]:g} at rank {rank[entry]:g} is higher than the one before. Leave out the column that is wrong."
        raise refuse(int(rows[entry]), what)


def _rows_of(ids: StringArray, known: StringArray, what: str, file: str) -> IntArray:
    """The row of each id, (len(ids),) int32."""
    row_of = {name: row for row, name in enumerate(known.tolist())}
    rows = np.array([row_of.get(name, -1) for name in ids.tolist()], dtype=np.int32)
    unknown = np.flatnonzero(rows < 0)
    if len(unknown):
        raise BadData(
            f"{file}: {len(unknown)} of {len(ids)} {what} ids are not in the data set, the first is {ids[unknown[0]]!r}. "
            f"Write the source's ids, such as {known[0]!r}, not a toolkit's own numbers."
        )
    return rows
