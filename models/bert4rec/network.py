"""The encoder with its head, and its training: examples in, sum of losses out."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbench.core.ragged import LongArray
from recbench.nn.blocks import initialise, post_norm_encoder
from recbench.nn.compute import Linear
from recbench.nn.training import Stretches, full_cross_entropy
from recbench_models.bert4rec.config import NetworkSettings
from recbench_models.bert4rec.data import MaskedBatch, hidden_slots

# B sequences, T columns, S hidden slots, N items, D width


class MaskedItemEncoder(nn.Module):
    """Reads sequences in which items are hidden, and gives each slot a state to score items by.

    A score is `h . E[j] + c_j` with `h = LN(GELU(W x + b))`. The last number of a state is 1 and the last number of an item's output
    vector is its bias `c_j`, so that a score is one inner product.

    Attributes:
        n_items: N; this row fills a batch up.
        max_length: how many items of a history are read, the newest ones: one slot of the encoder belongs to the appended MASK.
    """

    def __init__(self, settings: NetworkSettings, n_items: int) -> None:
        super().__init__()
        self.n_items, self.max_length = n_items, settings.max_length - 1
        self.encoder = post_norm_encoder(n_items, settings, causal=False, has_mask=True)
        self.dense = Linear(settings.width, settings.width)
        initialise(self.dense, "normal")
        self.norm = nn.LayerNorm(settings.width, self.encoder.block_settings.layer_norm_eps)
        self.item_bias = nn.Parameter(torch.zeros(n_items))

    @property
    def item_ID(self) -> Tensor:  # noqa: N802
        """Output vectors of the items, (N, D + 1): item vectors and biases."""
        return torch.cat([self.encoder.item_ID, self.item_bias[:, None]], 1)

    def forward(self, item_BT: Tensor, length_B: Tensor, is_hidden_BT: Tensor) -> Tensor:
        """The states of the hidden slots, (S, D + 1), row by row.

        Args:
            item_BT: (B, T) int64 items, oldest first, `n_items` after the end.
            length_B: (B,) how many slots of each sequence are real, at most `encoder.max_length`.
            is_hidden_BT: (B, T) bool, slots whose item is not read.
        """
        state_BTD = self.encoder(item_BT.masked_fill(is_hidden_BT, self.encoder.mask_row), length_B)
        head_SD = self.norm(functional.gelu(self.dense(state_BTD[is_hidden_BT])))
        return torch.cat([head_SD, head_SD.new_ones(len(head_SD), 1)], 1)

    def last_states(self, item_BT: Tensor, length_B: Tensor) -> Tensor:
        """The state of a hidden item after each history, (B, D + 1); a history may be empty.

        Args:
            item_BT: (B, T) int64 items, oldest first, `n_items` after the end.
            length_B: (B,) how many items each history has, at most `max_length`.
        """
        item_BT = functional.pad(item_BT, (0, 1), value=self.n_items)
        is_appended_BT = torch.arange(item_BT.shape[1], device=item_BT.device) == length_B[:, None]
        state: Tensor = self(item_BT, length_B + 1, is_appended_BT)
        return state


class MaskedItemTraining(nn.Module):
    """`module(batch)` gives the sum of the cross-entropies of the batch's hidden items over all items, and their number."""

    def __init__(self, network: MaskedItemEncoder, examples: Stretches, mask_rate: float) -> None:
        super().__init__()
        self.network = network
        self._examples, self._mask_rate = examples, mask_rate

    def forward(self, batch: MaskedBatch) -> tuple[Tensor, int]:
        # Groups of like length save what a batch in random order would compute for padding.
        groups = self._examples.of_like_length(batch.rows)
        states, targets = zip(*(self._hidden(rows, hides_newest=batch.hides_newest) for rows in groups), strict=True)
        target_S = torch.cat(targets)
        return full_cross_entropy(torch.cat(states), self.network.item_ID, target_S), len(target_S)

    def _hidden(self, rows: LongArray, *, hides_newest: bool) -> tuple[Tensor, Tensor]:
        """State (S, D + 1) and item (S,) of each slot of examples `rows` that is hidden."""
        device = self.network.item_bias.device
        item_BT = torch.from_numpy(self._examples.padded(rows, self.network.n_items)).to(device)
        length_B = torch.from_numpy(self._examples.length[rows]).to(device)
        is_hidden_BT = hidden_slots(length_B, item_BT.shape[1], self._mask_rate, hides_newest=hides_newest)
        return self.network(item_BT, length_B, is_hidden_BT), item_BT[is_hidden_BT]
