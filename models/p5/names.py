"""IDs by what items are called: their categories, or phrases that a column holds."""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from recbench.core import BadData, BadRequest, Histories, ItemTable
from recbench.nn.codes import ItemCodes
from recbench.nn.text import item_attributes
from recbench_models.p5.config import CategorySettings

_WORD = re.compile(r"\w+")


def category_ids(items: ItemTable, settings: CategorySettings, log: logging.Logger, random: np.random.Generator) -> ItemCodes:
    """A token for each category on an item's path, then a number among the items of that path; all levels share one table of tokens.

    Categories that all items have say nothing and are left out. Items of one path are numbered in random order. An item without any
    category has a token of its own.

    Raises:
        BadRequest: no item has a category that others lack.
    """
    attributes = item_attributes(items, settings, log, part="indexing.semid")
    paths = [tuple(path.tolist()) for path in (attributes.lists[0][row] for row in range(len(items)))]
    n_names = len(attributes.values)
    n_numbers = max(count for path, count in Counter(paths).items() if path)
    taken: defaultdict[tuple[int, ...], int] = defaultdict(int)
    lists: list[list[int]] = [[] for _ in paths]
    for row in random.permutation(len(paths)).tolist():
        path = paths[row]
        number = taken[path]
        taken[path] += 1
        lists[row] = [*path, n_names + number] if path else [n_names + n_numbers + number]
    return _shared(lists)


def phrase_ids(items: ItemTable, column: str) -> ItemCodes:
    """A token for each word of an item's phrase, wherever it stands. Punctuation does not count; capitals do, for some phrases differ in
    nothing else. An item without any word has a token of its own.

    Raises:
        BadRequest: the items have no such column.
        BadData: two items have one phrase.
    """
    if column not in items.columns or not any(items.columns[column]):
        raise BadRequest(
            f"IDs of phrases are read from the column {column!r}, which no item of this data set fills. "
            "Name another with --set indexing.phrases.column=NAME, or take another indexing.method."
        )
    numbers: dict[str, int] = {}
    first: dict[tuple[int, ...], int] = {}
    lists = [[numbers.setdefault(word, len(numbers)) for word in _WORD.findall(phrase or "")] for phrase in items.columns[column]]
    nameless = [row for row, code in enumerate(lists) if not code]
    for number, row in enumerate(nameless):
        lists[row] = [len(numbers) + number]
    for row, code in enumerate(lists):
        other = first.setdefault(tuple(code), row)
        if other != row:
            phrase = items.columns[column][row]
            raise BadData(
                f"Items {items.item_ids[other]} and {items.item_ids[row]} have the same phrase {phrase!r} in the column {column!r}. "
                "Give each item a phrase of its own."
            )
    return _shared(lists)


def _shared(lists: Sequence[Sequence[int]]) -> ItemCodes:
    """IDs of unequal length over one table of tokens."""
    code = Histories.from_lists(lists).padded(-1)
    return ItemCodes(code, (int(code.max()) + 1,) * code.shape[1], shared_tokens=True)
