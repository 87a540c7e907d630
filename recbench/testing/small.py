"""Small data sets with everything that trips models up: cold items, equal times, items bought twice, short users, sets of any size."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recbench.core import SilentProgress
from recbench.core.seeds import generator
from recbench.data import Split, locate, make_split, read_dataset
from recbench.tasks import BUNDLE, NEXT_ITEM, Task, find_task

_N_USERS = 60
_N_ITEMS = 200
_THEME = 20
"""Items of one theme; the last item of each of the first two themes is cold: 1 % of the catalogue."""
_N_SETS = 300
_SET_PARTS = ("train",) * 8 + ("valid", "test")
"""Part of each tenth of the sets."""
_WIDTH = 12
"""Numbers of an item's vector."""
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
    _write_texts(folder, columns)
    return folder


def _write_texts(folder: Path, columns: Sequence[str] = ()) -> None:
    """The item table, with gaps, and with a phrase per item in each of the further columns."""
    texts = {
        "item_id": [f"i{item:04d}" for item in range(_N_ITEMS)],
        "title": [None if item % 50 == 49 else f"{_KINDS[item % 7]} {_WORDS[item // _THEME]} {item % _THEME}" for item in range(_N_ITEMS)],
        "categories": [None if item % 50 == 49 else f"{_WORDS[item // _THEME]}, {_KINDS[item % 10]}" for item in range(_N_ITEMS)],
    }
    phrases = [f"{_WORDS[item // _THEME]} {_KINDS[item % 10]}" + " again" * (item % _THEME // 10) for item in range(_N_ITEMS)]
    pq.write_table(pa.table(texts | dict.fromkeys(columns, phrases)), folder / "items.parquet")


def write_sets(folder: Path, *, change_last: bool = False) -> Path:
    """The folder, filled with bundles that come divided, with texts, vectors, owners and feedback, the same at every call.

    Args:
        folder: is made.
        change_last: exchange what test bundles ask for among those that ask for equally many. Nothing else changes, for each item stands
            in some bundle as before, and no feedback is about an owner of a test bundle.
    """
    rng = generator(0, "small sets")
    rows = []
    for number in range(_N_SETS):
        theme, size = number % (_N_ITEMS // _THEME), 2 + number % 4
        # Of each theme the last two items are for test bundles alone: cold.
        part = _SET_PARTS[min(number * 10 // _N_SETS, 9)]
        items = theme * _THEME + rng.choice(_THEME - (2 if part == "train" else 0), size, replace=False)
        rows += [(f"b{number:03d}", int(item), part, int(place < max(1, size // 2))) for place, item in enumerate(items)]
    if change_last:
        rows = _exchanged(rows)
    folder.mkdir(parents=True, exist_ok=True)
    table = {
        "bundle_id": [bundle for bundle, _, _, _ in rows],
        "item_id": [f"i{item:04d}" for _, item, _, _ in rows],
        "part": [part for _, _, part, _ in rows],
        "is_input": [shown for _, _, _, shown in rows],
    }
    pq.write_table(pa.table(table), folder / "bundles.parquet")
    owners = {"user_id": [f"o{number % 40:02d}" for number in range(_N_SETS)], "bundle_id": [f"b{number:03d}" for number in range(_N_SETS)]}
    pq.write_table(pa.table(owners), folder / "user_bundles.parquet")
    used = [(f"u{user:02d}", f"i{number:04d}") for user in range(80) for number in np.unique(rng.integers(0, _N_ITEMS, 8)).tolist()]
    people, things = zip(*used, strict=True)
    pq.write_table(pa.table({"user_id": people, "item_id": things}), folder / "feedback.parquet")
    _write_texts(folder)
    vectors = folder / "features"
    vectors.mkdir(exist_ok=True)
    themes = rng.normal(size=(_N_ITEMS // _THEME, _WIDTH)).astype(np.float32)
    # Ids stand in falling order, and one item has no vector: rows are joined by id.
    order = np.arange(_N_ITEMS)[::-1][:-1]
    np.save(vectors / "image.npy", themes[order // _THEME] + 0.3 * rng.normal(size=(len(order), _WIDTH)).astype(np.float32))
    (vectors / "image.ids.txt").write_text("".join(f"i{number:04d}\n" for number in order), encoding="utf-8")
    return folder


def _exchanged(rows: list[tuple[str, int, str, int]]) -> list[tuple[str, int, str, int]]:
    """What each test bundle asks for given to the next one that asks for as many and shows none of it."""
    asked: dict[str, list[int]] = {}
    shown: dict[str, set[int]] = {}
    for bundle, item, part, is_input in rows:
        if part == "test":
            asked.setdefault(bundle, [])
            shown.setdefault(bundle, set())
            if is_input:
                shown[bundle].add(item)
            else:
                asked[bundle].append(item)
    names = sorted(asked)
    for first, second in pairwise(names):
        fits = len(asked[first]) == len(asked[second])
        if fits and not shown[first] & set(asked[second]) and not shown[second] & set(asked[first]):
            asked[first], asked[second] = asked[second], asked[first]
    left = {bundle: iter(items) for bundle, items in asked.items()}
    return [(bundle, item if part != "test" or is_input else next(left[bundle]), part, is_input) for bundle, item, part, is_input in rows]


def read_split(source: Path, cache: Path, *, columns: Sequence[str] = ()) -> Split:
    """The split of a folder of data by its task's default, as it comes divided where it does.

    Its arrays are memory-mapped from files below `cache` and so not writable.

    Args:
        source: the folder.
        cache: a folder.
        columns: model columns to read.
    """
    progress = SilentProgress()
    located = locate(str(source), data_dir=None, home=cache, progress=progress, fetch=False)
    located = replace(located, card=located.card.model_copy(update={"model_columns": tuple(columns)}))
    dataset = read_dataset(located, progress)
    is_divided = dataset.side is not None and dataset.side.given is not None
    protocol = find_task(located.card.task).protocol("published" if is_divided else None)
    make_split(dataset, protocol).save(cache / "split")
    return Split.open(cache / "split")


def small_source(folder: Path, task: Task, *, change_last: bool = False, columns: Sequence[str] = ()) -> Path:
    """The small data set of a task, written into a folder; see `write_source` and `write_sets`."""
    if task.name == BUNDLE.name:
        return write_sets(folder, change_last=change_last)
    return write_source(folder, change_last=change_last, columns=columns)


def small_split(folder: Path, *, columns: Sequence[str] = (), task: Task = NEXT_ITEM) -> Split:
    """The split of the small data set of a task with these model columns; source and split lie below `folder`."""
    return read_split(small_source(folder / "datasets" / "small", task, columns=columns), folder, columns=columns)
