"""Layers and encoder of HSTU, and the encoder in training."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbench.core import Interactions
from recbench.core.ragged import LongArray
from recbench.nn.compute import Dropout, Linear
from recbench.nn.training import NextItemTraining, Windows
from recbench_models.hstu.config import HSTUConfig, NetworkSettings
from recbench_models.hstu.data import N_BUCKETS, padded_times, time_buckets

# B histories, T columns, D width, H heads, d width of a head, I all heads together, S trained slots, N items

_EPS = 1e-6
"""Epsilon of the layer normalisations, which have no weights."""


class HSTULayer(nn.Module):
    """Gated attention without a softmax: a slot sums the values of the slots up to its own and multiplies the sum by its gate."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.n_heads, self.max_length = settings.n_heads, settings.max_length
        inner = settings.n_heads * settings.head_width
        self.gate_value_query_key = Linear(settings.width, 4 * inner, bias=False)
        self.output = Linear(inner, settings.width)
        self.dropout = Dropout(settings.dropout)
        self.position_bias = nn.Parameter(torch.empty(2 * settings.max_length - 1))
        self.time_bias = nn.Parameter(torch.empty(N_BUCKETS)) if settings.time_bias == "own" else None
        for weight in (self.gate_value_query_key.weight, self.position_bias, self.time_bias):
            if weight is not None:
                nn.init.normal_(weight, std=0.02)
        nn.init.xavier_uniform_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, x_BTD: Tensor, bucket_BTT: Tensor | None) -> Tensor:
        """The next state of each slot, (B, T, D); `bucket_BTT` holds the buckets of times between slots where these count."""
        normed_BTD = functional.layer_norm(x_BTD, x_BTD.shape[-1:], eps=_EPS)
        gate_BTI, *rest = functional.silu(self.gate_value_query_key(normed_BTD)).chunk(4, dim=-1)
        value_BHTd, query_BHTd, key_BHTd = (part.view(*part.shape[:2], self.n_heads, -1).transpose(1, 2) for part in rest)
        weight_BHTT = query_BHTd @ key_BHTd.transpose(-1, -2) + self._bias(x_BTD.shape[1], bucket_BTT)
        # No softmax: no slot's weight depends on those of others, and weights may be below zero. The divisor is a constant and not the
        # length of the batch, on which no state may depend: the normalisation that follows adds its epsilon to what is divided here.
        weight_BHTT = functional.silu(weight_BHTT).tril() / self.max_length
        read_BTI = (weight_BHTT @ value_BHTd).transpose(1, 2).flatten(2)
        read_BTI = functional.layer_norm(read_BTI, read_BTI.shape[-1:], eps=_EPS)
        next_BTD: Tensor = x_BTD + self.output(self.dropout(gate_BTI * read_BTI))
        return next_BTD

    def _bias(self, n_columns: int, bucket_BTT: Tensor | None) -> Tensor:
        """Bias of place and time on the product of query and key, (T, T) or (B, 1, T, T)."""
        column_T = torch.arange(n_columns, device=self.position_bias.device)
        bias: Tensor = self.position_bias[column_T - column_T[:, None] + self.max_length - 1]
        if self.time_bias is None or bucket_BTT is None:
            return bias
        return bias + functional.embedding(bucket_BTT, self.time_bias[:, None]).squeeze(-1)[:, None]


class HSTUEncoder(nn.Module):
    """The state of every slot from the items up to it and the times between them.

    Batches are padded on the right, where no slot looks. Places count from the newest item, which stands in the last one. Initialised with
    torch's default generator.

    Args:
        settings: sizes, dropout, and whether times count.
        n_items: rows 0..n_items-1 are items; row n_items is the padding, zero for ever.
    """

    def __init__(self, settings: NetworkSettings, n_items: int) -> None:
        super().__init__()
        self.n_items, self.max_length, self.reads_time = n_items, settings.max_length, settings.time_bias == "own"
        self.item_embedding = nn.Embedding(n_items + 1, settings.width, padding_idx=n_items)
        self.position_embedding = nn.Embedding(settings.max_length, settings.width)
        self.dropout = Dropout(settings.dropout)
        self.layers = nn.ModuleList(HSTULayer(settings) for _ in range(settings.n_layers))
        nn.init.trunc_normal_(self.item_embedding.weight, std=0.02)
        nn.init.xavier_normal_(self.position_embedding.weight)
        with torch.no_grad():
            self.item_embedding.weight[n_items].zero_()

    @property
    def item_ID(self) -> Tensor:  # noqa: N802
        """Vectors of the items without the padding, (N, D): what states are compared with."""
        return self.item_embedding.weight[: self.n_items]

    def forward(self, item_BT: Tensor, length_B: Tensor, time_BT: Tensor | None = None) -> Tensor:
        """The state of every slot, (B, T, D); meaningless where a history has ended.

        Args:
            item_BT: (B, T) int64 item rows, oldest first, `n_items` after the end.
            length_B: (B,) how many items each history has, at most `max_length`.
            time_BT: (B, T) int64 seconds since 1970, `UNKNOWN_TIME` where one is missing; None: all are. Unused without a time bias.
        """
        bucket_BTT = None
        if self.reads_time:
            bucket_BTT = item_BT.new_zeros(*item_BT.shape, item_BT.shape[1]) if time_BT is None else time_buckets(time_BT)
        place_BT = (self.max_length - length_B)[:, None] + torch.arange(item_BT.shape[1], device=item_BT.device)
        place_BTD = self.position_embedding(place_BT.clamp(max=self.max_length - 1))
        item_BTD = self.item_embedding(item_BT)
        x_BTD: Tensor = self.dropout(item_BTD * item_BTD.shape[-1] ** 0.5 + place_BTD)
        for layer in self.layers:
            x_BTD = layer(x_BTD, bucket_BTT)
        return x_BTD

    def last_states(self, item_BT: Tensor, length_B: Tensor, time_BT: Tensor | None = None) -> Tensor:
        """The state of each history's newest item, (B, D); lengths must be at least 1."""
        state_BTD: Tensor = self(item_BT, length_B, time_BT)
        return state_BTD[torch.arange(len(item_BT), device=item_BT.device), length_B - 1]


class HSTUTraining(NextItemTraining):
    """The network in training, with the loss and the batches that the settings of the model name."""

    encoder: HSTUEncoder

    def __init__(self, encoder: HSTUEncoder, config: HSTUConfig, train: Interactions, windows: Windows) -> None:
        super().__init__(encoder, config, train, windows, mixes_lengths=config.batch_order == "random")
        self._seconds = train.seconds if encoder.reads_time else None

    def states(self, rows: LongArray, item_BT: Tensor, length_B: Tensor) -> Tensor:
        """The state of every slot, (B, T, D), from items and, where they count, times."""
        time_BT = None
        if self._seconds is not None:
            time_BT = torch.from_numpy(padded_times(self._seconds, self.windows.start[rows], self.windows.length[rows])).to(item_BT.device)
        state_BTD: Tensor = self.encoder(item_BT, length_B, time_BT)
        return state_BTD
