"""Training examples: stretches of users' histories, with every text that the targets of a batch need."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recbench.core import Histories, Interactions
from recbench.core.ragged import IntArray, LongArray, Ragged
from recbench.nn.training import Windows, length_bucketed
from recbench_models.gram.config import GRAMConfig
from recbench_models.gram.prompts import UserPrompts

_TARGETS_PER_READ_ITEM = 2
"""A stretch trains at most so many targets for each item that one target may read: what is read for context alone stays a third."""

# B stretches of a batch, J items of a stretch, C targets of a stretch


def stretches(train: Interactions, max_history: int, max_targets: int) -> Windows:
    """The train part in pieces. Every event but a user's first is the target of exactly one piece, with all that precedes it, cut to the
    newest `max_history` items: nothing is lost where a user is cut.

    Args:
        train: the train part.
        max_history: items that a target may read.
        max_targets: of a piece; 1: one piece for each (history, target) pair.
    """
    n_targets_U = np.maximum(train.lengths - 1, 0)
    n_pieces_U = -(-n_targets_U // max_targets)
    user = np.repeat(np.arange(train.n_users, dtype=np.int64), n_pieces_U)
    nth = np.arange(len(user), dtype=np.int64) - np.repeat(np.cumsum(n_pieces_U) - n_pieces_U, n_pieces_U)
    # Pieces of like size: the first targets of a piece stand in slots `first` to `end - 1`.
    first = nth * n_targets_U[user] // n_pieces_U[user]
    end = (nth + 1) * n_targets_U[user] // n_pieces_U[user]
    begin = np.maximum(first + 1 - max_history, 0)
    return Windows(train.item, train.offsets[user] + begin, end - begin, first - begin, user)


@dataclass(frozen=True, eq=False)
class Batch:
    """Input of the network for one batch.

    Attributes:
        item: (u,) the different items that are read.
        place_BJ: (B, J) int64, which of those stands in each slot of a stretch; -1 behind its end.
        target_BC: (B, C) int64 item rows; -1 where a stretch has no further target.
        slot_BC: (B, C) int64, the newest slot that each target reads; 0 where there is none.
        user_prompt: the user prompts of the targets, stretch by stretch; None where none are read.
    """

    item: IntArray
    place_BJ: LongArray
    target_BC: LongArray
    slot_BC: LongArray
    user_prompt: Ragged | None


class Examples:
    """The train part as GRAM trains on it.

    Args:
        config: how it is cut.
        train: the train part.
        user_prompts: makes them.
    """

    def __init__(self, config: GRAMConfig, train: Interactions, user_prompts: UserPrompts) -> None:
        max_targets = _TARGETS_PER_READ_ITEM * config.prompts.max_history if config.examples.packing == "user" else 1
        self.windows = stretches(train, config.prompts.max_history, min(max_targets, config.examples.batch_targets))
        self._config, self._user_prompts = config, user_prompts

    @property
    def n_possible(self) -> int:
        """Distinct (history, target) pairs."""
        return int(self.windows.n_targets.sum())

    def batches(self, generator: np.random.Generator) -> Sequence[LongArray]:
        """The stretches of the batches of one epoch, those of like length together."""
        windows, size = self.windows, self._config.examples.batch_targets
        drawn = windows.drawn(self._config.examples.windows_per_user, generator)
        batches = length_bucketed(windows.n_targets[drawn], windows.length[drawn], size=size, unit="targets", generator=generator)
        return [drawn[batch] for batch in batches]

    def batch(self, rows: LongArray) -> Batch:
        """Content of the stretches `rows`."""
        windows = self.windows
        item_BJ, _ = windows.padded(rows, -1)
        target_BC, slot_BC = windows.trained(rows)
        item, place = np.unique(item_BJ, return_inverse=True)
        place_BJ = place.reshape(item_BJ.shape) - int(item[0] < 0)
        return Batch(item[item >= 0].astype(np.int32), place_BJ, target_BC, slot_BC, self._prompts(rows, target_BC, slot_BC))

    def _prompts(self, rows: LongArray, target_BC: LongArray, slot_BC: LongArray) -> Ragged | None:
        """The user prompt of each target."""
        if not self._config.prompts.user:
            return None
        windows, max_history = self.windows, self._config.prompts.max_history
        b, c = np.nonzero(target_BC >= 0)
        end = windows.start[rows][b] + slot_BC[b, c] + 1
        length = np.minimum(slot_BC[b, c] + 1, max_history)
        offsets = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
        index = np.repeat(end - length - offsets[:-1], length) + np.arange(offsets[-1])
        return self._user_prompts(Histories(windows.item[index], offsets))
