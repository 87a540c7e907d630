"""T5's attention with its gradient, for training on a CPU: head by head, so that nothing is copied to bring heads together."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from recbench.nn.blocks.t5_fused import is_plain
from recbench.nn.compute.dropout import Dropout, dropout_factor

# B rows, N queries, K keys, H heads, d width of a head, X = H * d

_BITS_PER_NAT = 1 / math.log(2)


def attend(bias: Tensor, n_heads: int, dropout: Dropout, *projected: Tensor) -> Tensor:
    """Attention without scaling (T5's initial weights account for it), (B, N, X).

    Args:
        bias: (1 or B, 1 or H, N, K), what is added to the scores; -inf where a query must not read a key.
        n_heads: H.
        dropout: on the weights.
        projected: queries, keys and values side by side, (B, N, 3 X); or queries (B, N, X), then keys and values (B, K, 2 X).
    """
    if torch.is_grad_enabled() and is_plain(projected[0]):
        # The library's attention is slow to train on a CPU where sequences are short or the bias is trained too.
        out: Tensor = _Attention.apply(bias, n_heads, dropout.share if dropout.training else 0.0, *projected)  # type: ignore[no-untyped-call]
        return out
    query, key, value = (part.transpose(1, 2) for part in _by_head(projected, n_heads))
    if dropout.training and dropout.share:
        weight = torch.softmax((query @ key.transpose(2, 3) + bias).float(), -1).to(value.dtype)
        mixed = dropout(weight) @ value
    else:
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype), scale=1.0)
    read: Tensor = mixed.transpose(1, 2).flatten(2)
    return read


def _by_head(projected: tuple[Tensor, ...], n_heads: int) -> list[Tensor]:
    """Views of queries, keys and values, (B, N or K, H, d)."""
    n_parts = (3,) if len(projected) == 1 else (1, 2)
    return [part.view(*part.shape[:2], n_heads, -1) for parts, n in zip(projected, n_parts, strict=True) for part in parts.chunk(n, 2)]


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, bias: Tensor, n_heads: int, share: float, *projected: Tensor) -> Tensor:
        query, key, value = _by_head(projected, n_heads)
        # Counted in bits: on a CPU torch's power of two takes a quarter of the time of its exponential. Its softmax is slow in short rows.
        bias_bits = (bias * _BITS_PER_NAT).expand(-1, n_heads, -1, -1).transpose(0, 1)
        weight_HBNK = query.new_empty(n_heads, len(query), query.shape[1], key.shape[1])
        for head, weight_BNK in enumerate(weight_HBNK):
            added = bias_bits[head].expand_as(weight_BNK)
            torch.baddbmm(added, query[:, :, head], key[:, :, head].transpose(1, 2), alpha=_BITS_PER_NAT, out=weight_BNK)
        weight_HBNK.sub_(weight_HBNK.amax(-1, keepdim=True)).exp2_()
        weight_HBNK.div_(weight_HBNK.sum(-1, keepdim=True))
        # Drawn row by row, as everywhere.
        factor = dropout_factor(weight_HBNK.transpose(0, 1), share).transpose(0, 1) if share else None
        read_HBNd = _products(weight_HBNK if factor is None else weight_HBNK * factor, value)
        ctx.n_heads, ctx.bias_shape = n_heads, bias.shape
        ctx.save_for_backward(weight_HBNK, factor, *projected)
        return read_HBNd.permute(1, 2, 0, 3).flatten(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BNX: Tensor) -> tuple[Tensor | None, ...]:
        weight_HBNK, factor, *projected = ctx.saved_tensors
        query, key, value = _by_head(tuple(projected), ctx.n_heads)
        grad = grad_BNX.contiguous().view(*grad_BNX.shape[:2], ctx.n_heads, -1)
        read_HBNK = weight_HBNK if factor is None else weight_HBNK * factor
        grad_value = _products(read_HBNK.transpose(2, 3), grad)
        grad_score = torch.empty_like(weight_HBNK)
        for head, part in enumerate(grad_score):
            torch.bmm(grad[:, :, head], value[:, :, head].transpose(1, 2), out=part)
        if factor is not None:
            grad_score.mul_(factor)
        grad_score.mul_(weight_HBNK)
        grad_score.addcmul_(weight_HBNK, grad_score.sum(-1, keepdim=True), value=-1)
        grad_bias = grad_score.transpose(0, 1).sum_to_size(ctx.bias_shape) if ctx.needs_input_grad[0] else None
        made = [_products(grad_score, key), _products(grad_score.transpose(2, 3), query), grad_value]
        grads = [torch.empty_like(part, memory_format=torch.contiguous_format) for part in projected]
        for place, part in zip(_by_head(tuple(grads), ctx.n_heads), made, strict=True):
            place.copy_(part.permute(1, 2, 0, 3))
        return grad_bias, None, None, *grads


def _products(left_HBNK: Tensor, right_BKHd: Tensor) -> Tensor:
    """Of every head, (H, B, N, d)."""
    out = right_BKHd.new_empty(*left_HBNK.shape[:3], right_BKHd.shape[3])
    for head, part in enumerate(out):
        torch.bmm(left_HBNK[head], right_BKHd[:, :, head], out=part)
    return out
