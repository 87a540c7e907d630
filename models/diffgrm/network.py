"""The network: digits of a history in, digits of the next item out, in any order."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbench.core.ragged import LongArray
from recbench.nn.blocks import initialise
from recbench.nn.compute import Dropout, Linear
from recbench_models.diffgrm.config import NetworkSettings

# B histories, T items of the longest, P slots of a memory (T + 1), S sequences of digits per history (views or beams), R = B S,
# M digits of a code, K values of a digit, D width, Q queries or digits that are asked for

_LAYER_NORM_EPS = 1e-5


class Memory(NamedTuple):
    """What the encoder has read of a batch of histories."""

    state_BPD: Tensor
    """States of the items, zero where a history has ended; the last slot, zero too, stands for all empty ones."""
    bias_B11P: Tensor
    """What is added to the logits of attention to each slot: 0 for items, -inf where a history has ended; for the last slot the logarithm
    of how many empty slots it stands for."""


class Attention(nn.Module):
    """Attention whose queries, keys and values have no bias."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query = Linear(width, width, bias=False)
        self.key_value = Linear(width, 2 * width, bias=False)
        self.output = Linear(width, width)

    def forward(self, query_BQD: Tensor, memory_BPD: Tensor, mask: Tensor | None = None) -> Tensor:
        """What each query reads of the memory, (B, Q, D); `mask` (B, 1, 1, P): bool, True where a slot is read, or added to the logits."""
        parts = self.query(query_BQD), *self.key_value(memory_BPD).chunk(2, dim=-1)
        q_BHQd, k_BHPd, v_BHPd = (part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for part in parts)
        read_BHQd = functional.scaled_dot_product_attention(q_BHQd, k_BHPd, v_BHPd, attn_mask=mask)
        out: Tensor = self.output(read_BHQd.transpose(1, 2).flatten(2))
        return out


class EncoderBlock(nn.Module):
    """Attention to all items of the history and a two-layer network, each with a residual connection."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        width = settings.width
        self.attention_norm = nn.LayerNorm(width, _LAYER_NORM_EPS)
        self.attention = Attention(width, settings.n_heads)
        self.network_norm = nn.LayerNorm(width, _LAYER_NORM_EPS)
        self.network = nn.Sequential(Linear(width, settings.hidden), nn.GELU(), Linear(settings.hidden, width))
        self.dropout = Dropout(settings.dropout)

    def forward(self, x_BTD: Tensor, is_read_B11T: Tensor) -> Tensor:
        """The next state of each slot, (B, T, D)."""
        normed = self.attention_norm(x_BTD)
        x_BTD = x_BTD + self.dropout(self.attention(normed, normed, is_read_B11T))
        out: Tensor = x_BTD + self.dropout(self.network(self.network_norm(x_BTD)))
        return out


class DecoderBlock(nn.Module):
    """Attention of the digits of a code to each other, attention to the history, and a two-layer network."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        width = settings.width
        self.attention_norm = nn.LayerNorm(width, _LAYER_NORM_EPS)
        self.attention = Attention(width, settings.n_heads)
        self.memory_norm = nn.LayerNorm(width, _LAYER_NORM_EPS)
        self.memory_attention = Attention(width, settings.n_heads)
        self.network_norm = nn.LayerNorm(width, _LAYER_NORM_EPS)
        self.network = nn.Sequential(Linear(width, settings.hidden), nn.GELU(), Linear(settings.hidden, width))
        self.dropout = Dropout(settings.dropout)

    def forward(self, x_RMD: Tensor, memory: Memory, digit_RQ: Tensor | None = None) -> Tensor:
        """The next state of each digit, (R, M, D), or of the digits `digit_RQ`, (R, Q, D).

        The R = B S codes are those of the B memories in turn.
        """
        normed_RMD = self.attention_norm(x_RMD)
        x_RQD, query_RQD = x_RMD, normed_RMD
        if digit_RQ is not None:
            index_RQD = digit_RQ[:, :, None].expand(-1, -1, x_RMD.shape[-1])
            x_RQD, query_RQD = x_RMD.gather(1, index_RQD), normed_RMD.gather(1, index_RQD)
        x_RQD = x_RQD + self.dropout(self.attention(query_RQD, normed_RMD))
        # All codes of a history read it side by side: its keys and values are made once.
        asking_BQD = self.memory_norm(x_RQD).view(len(memory.state_BPD), -1, x_RQD.shape[-1])
        read_BQD = self.memory_attention(asking_BQD, memory.state_BPD, memory.bias_B11P)
        x_RQD = x_RQD + self.dropout(read_BQD).view_as(x_RQD)
        out: Tensor = x_RQD + self.dropout(self.network(self.network_norm(x_RQD)))
        return out


class DiffGRMNetwork(nn.Module):
    """Reads a history of codes and predicts the masked digits of the next item's code from those that are shown (arXiv:2510.21805).

    One table of digits' vectors is read by encoder and decoder and compared with the decoder's states; one layer normalisation ends both.
    Batches are padded on the right. Initialised with torch's default generator.

    Args:
        settings: sizes, dropout, first weights.
        n_items: N.
        n_digits: M.
        size: K, the same for every digit.

    Attributes:
        code_NM: (N + 1, M) int64, the items' digits; the last row is the padding. `assign` sets it.
        digit_embedding: (M K, D); digit m has rows m K to m K + K - 1.
    """

    code_NM: Tensor
    first_M: Tensor

    def __init__(self, settings: NetworkSettings, n_items: int, n_digits: int, size: int) -> None:
        super().__init__()
        width = settings.width
        self.n_items, self.n_digits, self.size = n_items, n_digits, size
        self.max_length, self.pad_sink = settings.max_length, settings.pad_sink
        self.digit_embedding = nn.Embedding(n_digits * size, width)
        self.mask_vectors = nn.Parameter(torch.empty(n_digits, width))
        self.item_network = nn.Sequential(Linear(n_digits * width, width), nn.ReLU(), Linear(width, width))
        self.position_embedding = nn.Embedding(settings.max_length, width)
        self.dropout = Dropout(settings.dropout)
        self.encoder = nn.ModuleList(EncoderBlock(settings) for _ in range(settings.n_encoder_layers))
        self.decoder = nn.ModuleList(DecoderBlock(settings) for _ in range(settings.n_decoder_layers))
        self.last_norm = nn.LayerNorm(width, _LAYER_NORM_EPS)
        initialise(self, settings.init)
        self.register_buffer("code_NM", torch.zeros(n_items + 1, n_digits, dtype=torch.int64))
        self.register_buffer("first_M", torch.arange(n_digits) * size, persistent=False)

    def assign(self, code_NM: LongArray) -> None:
        """Set the items' codes, (N, M) numbers from 0 to K - 1."""
        self.code_NM[: self.n_items] = torch.from_numpy(code_NM).to(self.code_NM)

    def item_vectors(self, item_BT: Tensor) -> Tensor:
        """The vector of each item, made of the vectors of its digits side by side, (B, T, D)."""
        vector_BTD: Tensor = self.item_network(self.digit_embedding(self.code_NM[item_BT] + self.first_M).flatten(2))
        return vector_BTD

    def encode(self, item_BT: Tensor, length_B: Tensor) -> Memory:
        """What the decoder reads of the histories.

        Args:
            item_BT: (B, T) int64 item rows, oldest first, `n_items` after the end.
            length_B: (B,) int64, how many items each history has, 0 to `max_length`.
        """
        slot_T = torch.arange(item_BT.shape[1], device=item_BT.device)
        is_item_BT = slot_T < length_B[:, None]
        # An empty history would be a softmax over nothing; its states are zero all the same.
        is_read_B11T = (slot_T < length_B.clamp(min=1)[:, None])[:, None, None]
        x_BTD = self.dropout(self.item_vectors(item_BT) + self.position_embedding(slot_T))
        for block in self.encoder:
            x_BTD = block(x_BTD, is_read_B11T)
        state_BTD = self.last_norm(x_BTD).masked_fill(~is_item_BT[:, :, None], 0.0)
        # Without a sink only a history of no item has an empty slot: there must be something to read.
        n_empty_B = self.max_length - length_B if self.pad_sink else (length_B == 0).long()
        bias_BP = torch.cat([torch.where(is_item_BT, 0.0, -torch.inf), n_empty_B[:, None].float().log()], dim=1)
        return Memory(functional.pad(state_BTD, (0, 0, 0, 1)), bias_BP[:, None, None].to(state_BTD.dtype))

    def decode(self, memory: Memory, value_BSM: Tensor, is_masked_BSM: Tensor, digit_BSQ: Tensor | None = None) -> Tensor:
        """The state of every digit of S codes for each history, (B, S, M, D), or of some, (B, S, Q, D).

        Args:
            memory: from `encode`.
            value_BSM: (B, S, M) int64 digits; where they are masked any value will do.
            is_masked_BSM: (B, S, M) bool, which digits are not shown.
            digit_BSQ: (B, S, Q) int64, the digits whose states are wanted; None: all.
        """
        shown_BSMD = self.digit_embedding(value_BSM + self.first_M)
        x_BSMD = self.dropout(torch.where(is_masked_BSM[..., None], self.mask_vectors, shown_BSMD))
        x_RMD = x_BSMD.flatten(0, 1)
        for block in self.decoder[:-1]:
            x_RMD = block(x_RMD, memory)
        x_RQD = self.decoder[-1](x_RMD, memory, None if digit_BSQ is None else digit_BSQ.flatten(0, 1))
        state_BSQD: Tensor = self.last_norm(x_RQD).unflatten(0, value_BSM.shape[:2])
        return state_BSQD

    def logits(self, state_RD: Tensor, digit: int) -> Tensor:
        """Logits of the values of one digit, (R, K)."""
        return state_RD @ self.digit_embedding.weight[digit * self.size : (digit + 1) * self.size].T

    def log_probabilities(self, state_RMD: Tensor) -> Tensor:
        """The logarithm of the probability of each value of each digit, (R, M, K) float32."""
        table_MKD = self.digit_embedding.weight.view(self.n_digits, self.size, -1)
        logit_MRK = state_RMD.transpose(0, 1) @ table_MKD.transpose(1, 2)
        return torch.log_softmax(logit_MRK.transpose(0, 1).float(), dim=-1)

    def log_probabilities_of(self, state_RQD: Tensor, digit_RQ: Tensor) -> Tensor:
        """The same for the states of some digits, (R, Q, K) float32."""
        logit_RQK = torch.empty(*digit_RQ.shape, self.size, device=state_RQD.device)
        for digit in range(self.n_digits):
            row, place = torch.nonzero(digit_RQ == digit, as_tuple=True)
            logit_RQK[row, place] = self.logits(state_RQD[row, place], digit).float()
        return torch.log_softmax(logit_RQK, dim=-1)
