"""The network: digits of items in, digits of the next item out, and the network in training."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbench.core.ragged import IntArray
from recbench.nn.blocks import BlockSettings, BlockStack, initialise
from recbench.nn.compute import Dropout, Linear
from recbench.nn.training import SlotTraining
from recbench_models.rpg.config import NetworkSettings

# B histories, T columns, S states, N items, M digits of a code, K values of a digit, D width

_LAYER_NORM_EPS = 1e-12
_LEAST_LENGTH = 1e-12
"""Shorter vectors are divided by this, so that a zero vector stays zero."""


class RPGEncoder(nn.Module):
    """Reads an item as the mean of its digits' vectors; its states predict each digit of the next item apart from the others.

    One table of digits' vectors serves both: what is read and what queries are compared with (arXiv:2506.05781). Batches are padded on the
    right, where no slot looks; places count from the newest item, which stands in the last one. Initialised with torch's default generator.

    Args:
        settings: sizes, dropout, heads.
        n_items: N.
        n_digits: M.
        size: K, the same for every digit.

    Attributes:
        code_NM: (N + 1, M) int64, the rows of `digit_embedding` that stand for each item; the last row is the padding. `assign` sets it.
        digit_embedding: (M K, D); digit m has rows m K to m K + K - 1.
    """

    code_NM: Tensor

    def __init__(self, settings: NetworkSettings, n_items: int, n_digits: int, size: int) -> None:
        super().__init__()
        width = settings.width
        self.n_items, self.n_digits, self.size = n_items, n_digits, size
        self.max_length, self.embedding_scale, self.temperature = settings.max_length, settings.embedding_scale, settings.temperature
        self.digit_embedding = nn.Embedding(n_digits * size, width)
        self.position_embedding = nn.Embedding(settings.max_length, width)
        self.dropout = Dropout(settings.dropout)
        block = BlockSettings(
            width,
            settings.n_heads,
            settings.hidden or width,
            settings.dropout,
            norm="pre",
            activation="gelu-tanh",
            inner_dropout=False,
            layer_norm_eps=_LAYER_NORM_EPS,
            output_dropout=settings.output_dropout,
        )
        self.blocks = BlockStack(settings.n_layers, block)
        self.last_norm = nn.LayerNorm(width, _LAYER_NORM_EPS)
        self.heads = Linear(width, n_digits * width) if settings.heads == "digit" else None
        initialise(self, "normal")
        if self.heads is not None:
            # Queries start as the state itself.
            nn.init.zeros_(self.heads.weight)
        self.register_buffer("code_NM", torch.zeros(n_items + 1, n_digits, dtype=torch.int64))

    def assign(self, code_NM: IntArray) -> None:
        """Set the items' codes, (N, M) numbers from 0 to K - 1."""
        first_M = torch.arange(self.n_digits) * self.size
        self.code_NM[: self.n_items] = torch.from_numpy(code_NM).to(self.code_NM) + first_M.to(self.code_NM)

    @property
    def item_ID(self) -> Tensor:  # noqa: N802
        """Vectors of the items as they are read, (N, D)."""
        return self.item_vectors(torch.arange(self.n_items, device=self.code_NM.device))

    def item_vectors(self, item_S: Tensor) -> Tensor:
        """The mean of the digits' vectors of each item, (S, D)."""
        return functional.embedding_bag(self.code_NM[item_S], self.digit_embedding.weight, mode="mean")

    def forward(self, item_BT: Tensor, length_B: Tensor) -> Tensor:
        """The state of every slot, (B, T, D); meaningless where a history has ended.

        Args:
            item_BT: (B, T) int64 item rows, oldest first, `n_items` after the end.
            length_B: (B,) how many items each history has, at most `max_length`.
        """
        vector_BTD = self.item_vectors(item_BT.flatten()).view(*item_BT.shape, -1)
        place_BT = (self.max_length - length_B)[:, None] + torch.arange(item_BT.shape[1], device=item_BT.device)
        place_BTD = self.position_embedding(place_BT.clamp(max=self.max_length - 1))
        read_BTD = self.dropout(vector_BTD * self.embedding_scale + place_BTD)
        state_BTD: Tensor = self.last_norm(self.blocks(read_BTD, length_B))
        return state_BTD

    def last_states(self, item_BT: Tensor, length_B: Tensor) -> Tensor:
        """The state of each history's newest item, (B, D); lengths must be at least 1."""
        state_BTD: Tensor = self(item_BT, length_B)
        return state_BTD[torch.arange(len(item_BT), device=item_BT.device), length_B - 1]

    def queries(self, state_SD: Tensor) -> Tensor:
        """What each digit's vectors are compared with, (S, M, D), or (S, 1, D) where all digits have one query."""
        if self.heads is None:
            return state_SD[:, None]
        own_SMD: Tensor = functional.silu(self.heads(state_SD)).view(len(state_SD), self.n_digits, -1)
        return state_SD[:, None] + own_SMD

    def log_probabilities(self, state_SD: Tensor) -> Tensor:
        """The logarithm of the probability of each value of each digit of the next item, (M, S, K) float32."""
        query_SMD = self.queries(state_SD)
        # At this temperature half precision would round a logit by a tenth.
        with torch.autocast(state_SD.device.type, enabled=False):
            query_MSD = functional.normalize(query_SMD.float(), dim=-1, eps=_LEAST_LENGTH).transpose(0, 1)
            value_MKD = self.digit_embedding.weight.float().view(self.n_digits, self.size, -1)
            value_MKD = functional.normalize(value_MKD, dim=-1, eps=_LEAST_LENGTH)
            return torch.log_softmax(query_MSD @ value_MKD.transpose(1, 2) / self.temperature, dim=-1)

    def scores(self, state_SD: Tensor) -> Tensor:
        """The score of every item as the next one, (S, N): the mean of the log-probabilities of its digits.

        Items of one code get one score, to the last digit.
        """
        # A row for each value of each digit: what an item adds up then lies side by side for all states.
        log_VS = self.log_probabilities(state_SD).transpose(1, 2).flatten(0, 1).contiguous()
        score_NS = functional.embedding_bag(self.code_NM[: self.n_items], log_VS, mode="sum")
        return (score_NS / self.n_digits).T.contiguous()

    def loss(self, state_SD: Tensor, target_S: Tensor) -> Tensor:
        """Sum over the states of the mean over digits of the cross-entropy of the item that follows, a scalar."""
        log_MSK = self.log_probabilities(state_SD)
        value_MS = self.code_NM[target_S].T % self.size
        return -log_MSK.gather(2, value_MS[:, :, None]).sum() / self.n_digits


class RPGTraining(SlotTraining):
    """Training by the cross-entropy of the digits of the next item."""

    encoder: RPGEncoder

    def loss(self, state_SD: Tensor, target_S: Tensor, sequence_S: Tensor, user_B: Tensor) -> Tensor:  # noqa: ARG002
        return self.encoder.loss(state_SD, target_S)
