"""A small data set with everything that trips models up: cold items, equal times, items bought twice, short users."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recbench.core import SilentProgress
from recbench.core.seeds import generator
from recbench.data import Split, locate, make_split, read_dataset
from recbench.tasks import NEXT_ITEM

_N_USERS = 60
_N_ITEMS = 200
_THEME = 20
"""Items of one theme; the last item of each of the first two themes is cold: 1 % of the catalogue."""
_START_S = 1_577_836_800
_DAY_S = 86_400
_WORDS = ("anchor", "dough", "comet", "spade", "pedal", "canvas", "harness", "pawn", "kettle", "string")
_KINDS = ("light", "sturdy", "compact", "classic", "small", "large", "quiet", "bright", "folding", "plain")


def write_source(folder: Path, *, change_last: bool = False, columns: Sequence[str] = ()) -> Path:
    """The folder, filled with `interactions.parquet` and `items.parquet`, the same at every call.

    Args:
        folder: is made.
        change_last: put another item in the place of every user's last one. All else stays the same to the byte of a cell:
            under leave-one-out, train and validation part do not change, popularity over all events does.
        columns: further columns of the item table, each with a phrase per item, all different; some phrases begin others.
    """
    rng = generator(0, "small data")
    users, items, times = [], [], []
    for user in range(_N_USERS):
        n_events = int(rng.integers(2, 4)) if user % 15 == 14 else int(rng.integers(5, 13))
        theme, item = user % (_N_ITEMS // _THEME), 0
        history: list[int] = []
        for _ in range(n_events):
            step = int(rng.choice([1, 2, 3, 7]))
            item = (item + step) % (_THEME - 1)
            history.append(theme * _THEME + item)
        if user % 5 == 0 and n_events > 4:
            history[3] = history[0]
        days = np.cumsum(rng.integers(0, 4, n_events))
        # The last event is later than the one before, so that no exchange of its item can make a duplicate.
        days[-1] += 1
        users += [user] * n_events
        items += history
        times += [_START_S + int(day) * _DAY_S for day in days]
    if change_last:
        other = rng.permutation(_N_ITEMS)
        for row in np.flatnonzero(np.diff(users, append=-1)):
            # Users of two events are for training only.
            if users[row - 2] == users[row]:
                items[row] = int(other[items[row]])
    folder.mkdir(parents=True, exist_ok=True)
    events = {"user_id": [f"u{user:03d}" for user in users], "item_id": [f"i{item:04d}" for item in items], "timestamp": times}
    pq.write_table(pa.table(events), folder / "interactions.parquet")
    texts = {
        "item_id": [f"i{item:04d}" for item in range(_N_ITEMS)],
        "title": [None if item % 50 == 49 else f"{_KINDS[item % 7]} {_WORDS[item // _THEME]} {item % _THEME}" for item in range(_N_ITEMS)],
        "categories": [None if item % 50 == 49 else f"{_WORDS[item // _THEME]}, {_KINDS[item % 10]}" for item in range(_N_ITEMS)],
    }
    phrases = [f"{_WORDS[item // _THEME]} {_KINDS[item % 10]}" + " again" * (item % _THEME // 10) for item in range(_N_ITEMS)]
    pq.write_table(pa.table(texts | dict.fromkeys(columns, phrases)), folder / "items.parquet")
    return folder


def read_split(source: Path, cache: Path, *, columns: Sequence[str] = ()) -> Split:
    """The leave-one-out split of a folder of data, memory-mapped from files below `cache` and so not writable.

    Args:
        source: the folder.
        cache: a folder.
        columns: model columns to read.
    """
    progress = SilentProgress()
    located = locate(str(source), data_dir=None, home=cache, progress=progress, fetch=False)
    located = replace(located, card=located.card.model_copy(update={"model_columns": tuple(columns)}))
    make_split(read_dataset(located, progress), NEXT_ITEM.protocol()).save(cache / "split")
    return Split.open(cache / "split")


def small_split(folder: Path, *, columns: Sequence[str] = ()) -> Split:
    """The split of the small data set with these model columns; source and split lie below `folder`."""
    return read_split(write_source(folder / "datasets" / "small", columns=columns), folder, columns=columns)
