"""The parts of a T5 block of the transformers library, called one by one, so that the caller decides who attends to what.

The library's modules hold the parameters and say what a layer is; only the order of the calls is ours.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbench.nn.compute.dropout import Dropout
from recbench.nn.compute.projection import linear

# B rows, N queries, K keys, D width, X heads times head width


def self_attention(layer: Any, state_BND: Tensor, bias: Tensor, n_heads: int, dropout: Dropout) -> Tensor:
    """Output of a layer of self-attention, (B, N, D), its input included.

    Args:
        layer: a `T5LayerSelfAttention`.
        state_BND: what enters it.
        bias: (1 or B, 1 or heads, N, N), what distance adds to the scores; -inf where a query must not read a key.
        n_heads: of the attention.
        dropout: on the weights.
    """
    attention = layer.SelfAttention
    projections = torch.cat([attention.q.weight, attention.k.weight, attention.v.weight])
    query, key, value = linear(layer.layer_norm(state_BND), projections).chunk(3, -1)
    read: Tensor = layer.dropout(attention.o(attend(query, key, value, bias, n_heads, dropout)))
    return state_BND + read


def attend(query_BNX: Tensor, key_BKX: Tensor, value_BKX: Tensor, bias: Tensor, n_heads: int, dropout: Dropout) -> Tensor:
    """Attention without scaling (T5's initial weights account for it), (B, N, X)."""
    query, key, value = (x.view(*x.shape[:2], n_heads, -1).transpose(1, 2) for x in (query_BNX, key_BKX, value_BKX))
    if dropout.training and dropout.share:
        weight = torch.softmax((query @ key.transpose(2, 3) + bias).float(), -1).to(value.dtype)
        mixed = dropout(weight) @ value
    else:
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype), scale=1.0)
    read: Tensor = mixed.transpose(1, 2).flatten(2)
    return read


def replace_dropout(module: nn.Module, share: float | None = None) -> None:
    """Put the cheap `Dropout` in the place of torch's, everywhere below `module`; of its own share or of this one."""
    for name, child in module.named_children():
        if isinstance(child, nn.Dropout):
            setattr(module, name, Dropout(child.p if share is None else share))
        else:
            replace_dropout(child, share)
