"""Causal self-attention over sequences of items.

Batches are padded on the right: no query ever looks to its right, so real slots are protected from padding by causality alone. Positions
are those of a window whose newest item always stands in the last slot, so they follow from the lengths, not from the column.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbench.nn.compute.dropout import Dropout

# B sequences, T columns (slots of the longest sequence of the batch), D width, H heads, N items

Norm = Literal["pre", "post", "original"]
"""Place of layer normalisation.

`pre`: `x + Attn(LN(x))`, `x + FFN(LN(x))`, and one last LN. `post`: `LN(x + Attn(x))`, `LN(x + FFN(x))`.
`original`: as the code of arXiv:1808.09781 has it: `q = LN(x)`, `x = q + Attn(q, x, x)` without an output projection, `y = LN(x)`,
`x = y + FFN(y)`, and one last LN.
"""
Init = Literal["xavier", "normal"]
"""`xavier`: Xavier normal for every matrix. `normal`: normal with standard deviation 0.02."""
Activation = Literal["relu", "gelu"]


class CausalSelfAttention(nn.Module):
    """Attention of each slot to itself and to the slots before it."""

    def __init__(self, width: int, n_heads: int, dropout: float, *, has_output: bool = True) -> None:
        super().__init__()
        self.n_heads, self.dropout = n_heads, dropout
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width) if has_output else nn.Identity()

    def forward(self, query_BTD: Tensor, memory_BTD: Tensor) -> Tensor:
        """Reading of each slot of `query_BTD` from the slots of `memory_BTD` up to its own, (B, T, D)."""
        if query_BTD is memory_BTD:
            q, k, v = self.query_key_value(query_BTD).chunk(3, dim=-1)
        else:
            width = query_BTD.shape[-1]
            weight, bias = self.query_key_value.weight, self.query_key_value.bias
            q = functional.linear(query_BTD, weight[:width], bias[:width])
            k, v = functional.linear(memory_BTD, weight[width:], bias[width:]).chunk(2, dim=-1)
        q_BHTd, k_BHTd, v_BHTd = (part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for part in (q, k, v))
        dropout = self.dropout if self.training else 0.0
        read_BHTd = functional.scaled_dot_product_attention(q_BHTd, k_BHTd, v_BHTd, dropout_p=dropout, is_causal=True)
        out: Tensor = self.output(read_BHTd.transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    """Attention and a two-layer network at each slot, each with a residual connection."""

    def __init__(self, width: int, n_heads: int, hidden: int, dropout: float, norm: Norm, activation: Activation, eps: float) -> None:
        super().__init__()
        self.norm = norm
        self.attention_norm = nn.LayerNorm(width, eps)
        self.attention = CausalSelfAttention(width, n_heads, dropout, has_output=norm != "original")
        self.network_norm = nn.LayerNorm(width, eps)
        self.network = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU() if activation == "gelu" else nn.ReLU(), Dropout(dropout), nn.Linear(hidden, width)
        )
        self.dropout = Dropout(dropout)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """The next state of each slot, (B, T, D)."""
        if self.norm == "pre":
            normed = self.attention_norm(x_BTD)
            x_BTD = x_BTD + self.dropout(self.attention(normed, normed))
            out: Tensor = x_BTD + self.dropout(self.network(self.network_norm(x_BTD)))
        elif self.norm == "post":
            x_BTD = self.attention_norm(x_BTD + self.dropout(self.attention(x_BTD, x_BTD)))
            out = self.network_norm(x_BTD + self.dropout(self.network(x_BTD)))
        else:
            query = self.attention_norm(x_BTD)
            normed = self.network_norm(query + self.attention(query, x_BTD))
            out = normed + self.dropout(self.network(normed))
        return out


class SequenceEncoder(nn.Module):
    """Item and position embeddings, blocks, and the state of every slot."""

    def __init__(
        self,
        n_items: int,
        *,
        width: int,
        n_layers: int,
        n_heads: int,
        hidden: int,
        max_length: int,
        dropout: float,
        norm: Norm = "pre",
        activation: Activation = "relu",
        init: Init = "xavier",
        embedding_scale: float = 1.0,
        eps: float = 1e-8,
    ) -> None:
        """
        Args:
            n_items: rows 0..n_items-1 are items; row n_items is the padding, zero for ever.
            width: D.
            n_layers: how many blocks.
            n_heads: attention heads; must divide the width.
            hidden: width of the inner layer of each block's network.
            max_length: longest sequence; the newest item stands in slot `max_length - 1`.
            dropout: on the embeddings, the attention weights and the outputs of attention and network.
            norm, activation, init: see the types.
            embedding_scale: item embeddings are multiplied by it before positions are added.
            eps: of the layer normalisations.
        """
        super().__init__()
        self.n_items, self.max_length, self.embedding_scale = n_items, max_length, embedding_scale
        self.item_embedding = nn.Embedding(n_items + 1, width, padding_idx=n_items)
        self.position_embedding = nn.Embedding(max_length, width)
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, n_heads, hidden, dropout, norm, activation, eps) for _ in range(n_layers))
        self.last_norm = nn.Identity() if norm == "post" else nn.LayerNorm(width, eps)
        self._initialise(init)

    def _initialise(self, init: Init) -> None:
        for name, weight in self.named_parameters():
            if weight.dim() == 1:
                if name.endswith("bias"):
                    nn.init.zeros_(weight)
                continue
            # Query, key and value are three matrices that share one tensor.
            for matrix in weight.data.chunk(3) if name.endswith("query_key_value.weight") else [weight.data]:
                if init == "xavier":
                    nn.init.xavier_normal_(matrix)
                else:
                    nn.init.normal_(matrix, std=0.02)
        with torch.no_grad():
            self.item_embedding.weight[self.n_items].zero_()

    @property
    def item_ID(self) -> Tensor:  # noqa: N802
        """Vectors of the items without the padding, (N, D): what states are multiplied with."""
        return self.item_embedding.weight[: self.n_items]

    def forward(self, item_BT: Tensor, length_B: Tensor) -> Tensor:
        """The state of every slot, (B, T, D); meaningless where a sequence has ended.

        Args:
            item_BT: (B, T) int64 item rows, oldest first, `n_items` after the end.
            length_B: (B,) how many items each sequence has, at most `max_length`.
        """
        return self.states_of(self.item_embedding(item_BT), length_B)

    def states_of(self, vector_BTD: Tensor, length_B: Tensor) -> Tensor:
        """The same from the items' vectors, whatever they are."""
        n_columns = vector_BTD.shape[1]
        slot_BT = (self.max_length - length_B)[:, None] + torch.arange(n_columns, device=vector_BTD.device)
        position_BTD = self.position_embedding(slot_BT.clamp(max=self.max_length - 1))
        x_BTD = self.dropout(vector_BTD * self.embedding_scale + position_BTD)
        for block in self.blocks:
            x_BTD = block(x_BTD)
        states: Tensor = self.last_norm(x_BTD)
        return states

    def last_states(self, item_BT: Tensor, length_B: Tensor) -> Tensor:
        """The state of each sequence's newest item, (B, D); lengths must be at least 1."""
        state_BTD: Tensor = self(item_BT, length_B)
        return state_BTD[torch.arange(len(item_BT), device=item_BT.device), length_B - 1]
