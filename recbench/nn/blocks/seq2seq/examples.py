"""Training examples of the encoder-decoder: which histories and targets a batch holds."""

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from recbench.core import Interactions
from recbench.core.interactions import StringArray
from recbench.core.ragged import LongArray
from recbench.nn.blocks.seq2seq.model import PADDED_SLOT, CodeSeq2Seq
from recbench.nn.blocks.seq2seq.settings import Seq2SeqSettings
from recbench.nn.training.windows import Windows, length_bucketed


def user_numbers(user_ids: StringArray, n_tokens: int) -> LongArray:
    """The user token of each raw id, (n,) int64: a hash of the id that is the same on every machine (arXiv:2305.05065, section 3.2)."""
    return np.fromiter((zlib.crc32(str(user).encode()) % n_tokens for user in user_ids), dtype=np.int64, count=len(user_ids))


class Examples:
    """The train part, cut so that every event but a user's first is the target of one window, or of one row where each prefix is a row.

    Attributes:
        windows: histories and the slots whose next items are trained.
    """

    def __init__(self, settings: Seq2SeqSettings, train: Interactions, user_ids: StringArray) -> None:
        cut = Windows.of if settings.encoder_attention == "causal" else Windows.prefixes
        self.windows = cut(train, settings.max_history)
        self._settings = settings
        self._user_number = user_numbers(user_ids, settings.user_tokens) if settings.user_tokens else None

    @property
    def n_possible(self) -> int:
        """Distinct (history, target) pairs."""
        return int(self.windows.n_targets.sum())

    def batches(self, generator: np.random.Generator) -> Sequence[LongArray]:
        """The window numbers of the batches of one epoch, histories of like length together."""
        windows, settings = self.windows, self._settings
        drawn = windows.drawn(settings.windows_per_user, generator)
        batches = length_bucketed(
            windows.n_targets[drawn], windows.length[drawn], size=settings.batch_targets, unit="targets", generator=generator
        )
        return [drawn[batch] for batch in batches]

    def tensors(self, rows: LongArray, device: torch.device) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        """Arguments of `CodeSeq2Seq.loss` for windows `rows`: histories, user tokens, targets, slots."""
        item_BT, _ = self.windows.padded(rows, PADDED_SLOT)
        target_BC, slot_BC = self.windows.trained(rows)
        item, target, slot = (torch.from_numpy(part).to(device) for part in (item_BT, target_BC, slot_BC))
        if self._user_number is None:
            return item, None, target, slot
        return item, torch.from_numpy(self._user_number[self.windows.user[rows]]).to(device), target, slot


class CodeTraining(nn.Module):
    """`module(rows)` gives the sum of the losses of windows `rows` and the number of their targets."""

    def __init__(self, network: CodeSeq2Seq, examples: Examples) -> None:
        super().__init__()
        self.network = network
        self._examples = examples

    def forward(self, rows: LongArray) -> tuple[Tensor, int]:
        return self.network.loss(*self._examples.tensors(rows, self.network.item_tokens.device))
