"""The parts of a T5 block of the transformers library, called one by one, so that the caller decides who attends to what.

The library's modules hold the parameters and say what a layer is; only the order of the calls is ours.
"""

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import T5Config, T5ForConditionalGeneration

from recbench.nn.compute.dropout import Dropout
from recbench.nn.compute.projection import linear

# B rows, N queries, K keys, D width, X heads times head width


class T5Sizes(Protocol):
    """Sizes of a T5, as groups of settings have them."""

    @property
    def width(self) -> int: ...
    @property
    def head_width(self) -> int: ...
    @property
    def hidden(self) -> int: ...
    @property
    def n_encoder_layers(self) -> int: ...
    @property
    def n_decoder_layers(self) -> int: ...
    @property
    def n_heads(self) -> int: ...
    @property
    def dropout(self) -> float: ...


def new_t5(sizes: T5Sizes, n_tokens: int, *, pad: int, start: int, end: int | None, **more: Any) -> T5ForConditionalGeneration:
    """A T5 with random weights.

    Args:
        sizes: of its layers.
        n_tokens: rows of its table of tokens.
        pad: token that fills short rows.
        start: token that the decoder reads first.
        end: token that ends a text; None where codes have no such token.
        more: further settings of a `T5Config`.
    """
    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=n_tokens,
            d_model=sizes.width,
            d_kv=sizes.head_width,
            d_ff=sizes.hidden,
            num_layers=sizes.n_encoder_layers,
            num_decoder_layers=sizes.n_decoder_layers,
            num_heads=sizes.n_heads,
            dropout_rate=sizes.dropout,
            feed_forward_proj="relu",
            pad_token_id=pad,
            decoder_start_token_id=start,
            eos_token_id=end,
            **more,
        )
    )


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
