"""The IDs of all items, made once for a split: from the train part and the items' texts, never from what is held out."""

from pathlib import Path

import numpy as np

from recbench.core import FitContext, Interactions
from recbench.core.ragged import LongArray
from recbench.core.seeds import generator
from recbench.nn.codes import CodesStage, ItemCodes
from recbench_models.p5.categories import category_ids
from recbench_models.p5.clusters import cluster_ids
from recbench_models.p5.config import IndexingSettings


def item_ids(context: FitContext, settings: IndexingSettings) -> CodesStage:
    """All items' IDs, which differ from one another, and the folder of the stage that holds them.

    Raises:
        BadRequest: the items have no text in the column that the method reads.
    """

    def build(folder: Path) -> None:
        ids = _made(context, settings)
        context.log.info("IDs by %s: %.1f tokens per item, %d different ones", settings.method, ids.lengths.mean(), ids.n_tokens)
        ids.save(folder)

    folder = context.stage("ids", build, config=settings.model_dump(mode="json"))
    return CodesStage(ItemCodes.load(folder), folder)


def _made(context: FitContext, settings: IndexingSettings) -> ItemCodes:
    random = generator(settings.seed, "p5", settings.method)
    n_items = context.train.n_items
    match settings.method:
        case "cid":
            return cluster_ids(context.train, settings.cid, random)
        case "semid":
            return category_ids(context.items, settings.semid, context.log, random)
        case "sid":
            return number_ids(sequential_numbers(context.train, random), settings.base)
        case "random":
            return number_ids(random.permutation(n_items), settings.base)
        case "independent":
            return ItemCodes(np.arange(n_items, dtype=np.int32)[:, None], (n_items,))


def sequential_numbers(train: Interactions, random: np.random.Generator) -> LongArray:
    """The number of each item, (n_items,), counted from 0 as users have them, user by user in time order.

    Items without events come last, in random order: to number them by the users who will have them, as the published code does, would
    make a user's validation and test item neighbours.
    """
    seen, first = np.unique(train.item, return_index=True)
    unseen = np.setdiff1d(np.arange(train.n_items), seen)
    numbers = np.empty(train.n_items, dtype=np.int64)
    numbers[np.concatenate([seen[np.argsort(first)], random.permutation(unseen)])] = np.arange(train.n_items)
    return numbers


def number_ids(numbers: LongArray, base: int) -> ItemCodes:
    """IDs of two tokens, of a range each: number div base, number mod base."""
    code = np.stack(np.divmod(numbers, base), axis=1).astype(np.int32)
    return ItemCodes(code, (int(code[:, 0].max()) + 1, base))
