"""Blocks of self-attention over the slots of a sequence, whatever the vectors in the slots are.

Sequences are padded on the right. A causal block never looks to the right, so padding is hidden by causality alone; a block that looks
both ways is given the slots that are real.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbench.nn.compute.dropout import Dropout
from recbench.nn.compute.projection import Linear, linear

# B sequences, T columns (slots of the longest sequence of the batch), D width, H heads, M inner width

Norm = Literal["pre", "post", "original", "ligr"]
"""Order of a block and place of its layer normalisations.

`pre`: `x + Attn(LN(x))`, `x + FFN(LN(x))`. `post`: `LN(x + Attn(x))`, `LN(x + FFN(x))`.
`original`: as the code of arXiv:1808.09781 has it: `q = LN(x)`, `x = q + Attn(q, x, x)`, `y = LN(x)`, `x = y + FFN(y)`.
`ligr`: `pre` with a gate on each residual and SwiGLU for the network: `x + sigmoid(G x) * Attn(LN(x))`, as arXiv:2508.06450 uses it.
"""
Init = Literal["xavier", "xavier-packed", "normal"]
"""`xavier`: Xavier normal for every matrix. `xavier-packed`: the same with query, key and value taken as one (3D, D) matrix, which makes
them smaller. `normal`: normal with standard deviation 0.02. Biases start at zero."""
Activation = Literal["relu", "gelu", "gelu-tanh"]
"""`gelu-tanh` is GPT-2's approximation of `gelu`."""


_ACTIVATIONS: Mapping[Activation, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "gelu-tanh": partial(nn.GELU, approximate="tanh"),
}


@dataclass(frozen=True)
class BlockSettings:
    """Sizes and kind of one block.

    Attributes:
        width: D.
        n_heads: attention heads; must divide the width.
        hidden: M, inner width of the network at each slot.
        dropout: on the attention weights and, unless `output_dropout` says otherwise, on the outputs of attention and network.
        norm: order of the block.
        activation: of the network; `ligr` has SwiGLU instead.
        inner_dropout: whether the network also drops numbers of its inner layer.
        attention_output: whether a projection follows the heads; None: in every order but `original`, whose code has none.
        layer_norm_eps: added to the variance in layer normalisations.
        output_dropout: on the outputs of attention and network, before they are added; None: `dropout`.
    """

    width: int
    n_heads: int
    hidden: int
    dropout: float
    norm: Norm = "pre"
    activation: Activation = "relu"
    inner_dropout: bool = True
    attention_output: bool | None = None
    layer_norm_eps: float = 1e-8
    output_dropout: float | None = None

    @property
    def after_layers(self) -> float:
        """`output_dropout` with None resolved."""
        return self.dropout if self.output_dropout is None else self.output_dropout

    @property
    def has_output(self) -> bool:
        """Whether a projection follows the heads."""
        return self.norm != "original" if self.attention_output is None else self.attention_output


class SelfAttention(nn.Module):
    """Attention of each slot to slots of the same sequence."""

    def __init__(self, width: int, n_heads: int, dropout: float, *, has_output: bool = True) -> None:
        super().__init__()
        self.n_heads, self.dropout = n_heads, dropout
        self.query_key_value = Linear(width, 3 * width)
        self.output = Linear(width, width) if has_output else nn.Identity()

    def forward(self, query_BTD: Tensor, memory_BTD: Tensor, is_read: Tensor | None = None) -> Tensor:
        """What each slot of `query_BTD` reads from the slots of `memory_BTD`, (B, T, D).

        Args:
            query_BTD: whose queries.
            memory_BTD: whose keys and values.
            is_read: bool, (B, 1, 1, T), the slots to read; None: each slot reads up to its own.
        """
        if query_BTD is memory_BTD:
            q, k, v = self.query_key_value(query_BTD).chunk(3, dim=-1)
        else:
            width = query_BTD.shape[-1]
            weight, bias = self.query_key_value.weight, self.query_key_value.bias
            q = linear(query_BTD, weight[:width], bias[:width])
            k, v = linear(memory_BTD, weight[width:], bias[width:]).chunk(2, dim=-1)
        q_BHTd, k_BHTd, v_BHTd = (part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for part in (q, k, v))
        read_BHTd = functional.scaled_dot_product_attention(
            q_BHTd, k_BHTd, v_BHTd, attn_mask=is_read, dropout_p=self.dropout if self.training else 0.0, is_causal=is_read is None
        )
        out: Tensor = self.output(read_BHTd.transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    """Attention and a two-layer network at each slot, each with a residual connection."""

    def __init__(self, settings: BlockSettings) -> None:
        super().__init__()
        width, hidden, eps = settings.width, settings.hidden, settings.layer_norm_eps
        self.norm = settings.norm
        self.attention_norm = nn.LayerNorm(width, eps)
        self.attention = SelfAttention(width, settings.n_heads, settings.dropout, has_output=settings.has_output)
        self.network_norm = nn.LayerNorm(width, eps)
        self.network = nn.Sequential(
            Linear(width, hidden),
            _ACTIVATIONS[settings.activation](),
            Dropout(settings.dropout if settings.inner_dropout else 0.0),
            Linear(hidden, width),
        )
        self.dropout = Dropout(settings.after_layers)

    def forward(self, x_BTD: Tensor, is_read: Tensor | None = None) -> Tensor:
        """The next state of each slot, (B, T, D); `is_read` as for `SelfAttention`."""
        if self.norm == "pre":
            normed = self.attention_norm(x_BTD)
            x_BTD = x_BTD + self.dropout(self.attention(normed, normed, is_read))
            out: Tensor = x_BTD + self.dropout(self.network(self.network_norm(x_BTD)))
        elif self.norm == "post":
            x_BTD = self.attention_norm(x_BTD + self.dropout(self.attention(x_BTD, x_BTD, is_read)))
            out = self.network_norm(x_BTD + self.dropout(self.network(x_BTD)))
        else:
            query = self.attention_norm(x_BTD)
            normed = self.network_norm(query + self.attention(query, x_BTD, is_read))
            out = normed + self.dropout(self.network(normed))
        return out


class SwiGLU(nn.Module):
    """`W2 dropout(silu(W1 y) * (W3 y))`, three matrices without bias."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.gate = Linear(width, hidden, bias=False)
        self.value = Linear(width, hidden, bias=False)
        self.output = Linear(hidden, width, bias=False)
        self.dropout = Dropout(dropout)

    def forward(self, y_BTD: Tensor) -> Tensor:
        """(B, T, D) of (B, T, D)."""
        inner_BTM = functional.silu(self.gate(y_BTD)) * self.value(y_BTD)
        out: Tensor = self.output(self.dropout(inner_BTM))
        return out


class LigrBlock(nn.Module):
    """Pre-norm attention and SwiGLU, each let through by a gate that reads what came before the norm (arXiv:2508.06450)."""

    def __init__(self, settings: BlockSettings) -> None:
        super().__init__()
        width, eps = settings.width, settings.layer_norm_eps
        self.attention_norm = nn.LayerNorm(width, eps)
        self.attention = SelfAttention(width, settings.n_heads, settings.dropout, has_output=settings.has_output)
        self.attention_gate = Linear(width, width)
        self.network_norm = nn.LayerNorm(width, eps)
        self.network = SwiGLU(width, settings.hidden, settings.dropout if settings.inner_dropout else 0.0)
        self.network_gate = Linear(width, width)
        self.dropout = Dropout(settings.after_layers)

    def forward(self, x_BTD: Tensor, is_read: Tensor | None = None) -> Tensor:
        """The next state of each slot, (B, T, D); `is_read` as for `SelfAttention`."""
        normed = self.attention_norm(x_BTD)
        read = self.dropout(self.attention(normed, normed, is_read))
        x_BTD = x_BTD + torch.sigmoid(self.attention_gate(x_BTD)) * read
        computed = self.dropout(self.network(self.network_norm(x_BTD)))
        out: Tensor = x_BTD + torch.sigmoid(self.network_gate(x_BTD)) * computed
        return out


class BlockStack(nn.ModuleList):
    """Blocks of one kind, one after the other."""

    def __init__(self, n_layers: int, settings: BlockSettings) -> None:
        super().__init__((LigrBlock if settings.norm == "ligr" else Block)(settings) for _ in range(n_layers))

    def forward(self, x_BTD: Tensor, length_B: Tensor, *, causal: bool = True) -> Tensor:
        """The state of every slot, (B, T, D); meaningless where a sequence has ended.

        Args:
            x_BTD: (B, T, D), what stands in the slots; the first `length_B` are real.
            length_B: (B,) how many slots of each sequence are real.
            causal: each slot sees itself and the slots before it; False: every real slot.
        """
        is_read = None
        if not causal:
            # A sequence without slots would be a softmax over nothing; its states are not used.
            is_real_BT = torch.arange(x_BTD.shape[1], device=x_BTD.device) < length_B.clamp(min=1)[:, None]
            is_read = is_real_BT[:, None, None]
        for block in self:
            x_BTD = block(x_BTD, is_read)
        return x_BTD


def initialise(module: nn.Module, init: Init) -> None:
    """Draw every matrix and embedding of a module with torch's default generator and set its biases to zero; norms are left."""
    for name, weight in module.named_parameters():
        if weight.dim() == 1:
            if name.endswith("bias"):
                nn.init.zeros_(weight)
            continue
        is_packed = name.endswith("query_key_value.weight") and init != "xavier-packed"
        # Query, key and value are three matrices that share one tensor.
        for matrix in weight.data.chunk(3) if is_packed else [weight.data]:
            if init == "normal":
                nn.init.normal_(matrix, std=0.02)
            else:
                nn.init.xavier_normal_(matrix)
