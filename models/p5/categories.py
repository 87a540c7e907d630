"""IDs by what items are: their categories."""

import logging
from collections import Counter, defaultdict

import numpy as np

from recbench.core import ItemTable
from recbench.nn.codes import ItemCodes, codes_from_lists
from recbench.nn.text import item_attributes
from recbench_models.p5.config import CategorySettings


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
    return codes_from_lists(lists)
