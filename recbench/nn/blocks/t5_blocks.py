"""The parts of a T5 block of the transformers library, called one by one, so that the caller decides who attends to what.

The library's modules hold the parameters and say what a layer is; only the order of the calls is ours.
"""

from typing import Any, Protocol

from torch import Tensor, nn
from transformers import T5Config, T5ForConditionalGeneration

from recbench.nn.blocks.t5_attention import attend
from recbench.nn.blocks.t5_fused import dropped_relu, normed_linear, plus_dropped_linear
from recbench.nn.compute.dropout import Dropout

# B rows, N tokens, D width


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
    own, norm = layer.SelfAttention, layer.layer_norm
    projected = normed_linear(state_BND, norm.weight, norm.variance_epsilon, own.q.weight, own.k.weight, own.v.weight)
    read = attend(bias, n_heads, dropout, projected)
    return plus_dropped_linear(state_BND, read, own.o.weight, layer.dropout)


def feed_forward(layer: Any, state_BND: Tensor) -> Tensor:
    """Output of a layer's network, (B, N, D), its input included; `layer` is a `T5LayerFF` with dropout by `replace_dropout`."""
    dense, norm = layer.DenseReluDense, layer.layer_norm
    state_ND = state_BND.flatten(0, -2)
    if hasattr(dense, "wi_0"):
        gate, value = normed_linear(state_ND, norm.weight, norm.variance_epsilon, dense.wi_0.weight, dense.wi_1.weight).chunk(2, -1)
        inner = dense.dropout(dense.act(gate) * value)
    else:
        inner = normed_linear(state_ND, norm.weight, norm.variance_epsilon, dense.wi.weight)
        inner = dropped_relu(inner, dense.dropout) if isinstance(dense.act, nn.ReLU) else dense.dropout(dense.act(inner))
    return plus_dropped_linear(state_ND, inner, dense.wo.weight, layer.dropout).view(state_BND.shape)


def replace_dropout(module: nn.Module, share: float | None = None) -> None:
    """Put the cheap `Dropout` in the place of torch's, everywhere below `module`; of its own share or of this one."""
    for name, child in module.named_children():
        if isinstance(child, nn.Dropout):
            setattr(module, name, Dropout(child.p if share is None else share))
        else:
            replace_dropout(child, share)
