"""Attention with its own gradient is softmax and products, whoever reads whom."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from recbench.nn.blocks.t5_attention import attend
from recbench.nn.compute import Dropout

N_HEADS, WIDTH = 2, 6


def plain(bias: Tensor, dropout: Dropout, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    query, key, value = (part.unflatten(2, (N_HEADS, -1)).transpose(1, 2) for part in (query, key, value))
    weight = dropout(torch.softmax(query @ key.transpose(2, 3) + bias, -1))
    return (weight @ value).transpose(1, 2).flatten(2)


def found(compute: Callable[..., Tensor], *given: Tensor) -> list[Tensor]:
    parts = [part.clone().requires_grad_() for part in given]
    torch.manual_seed(3)
    out = compute(*parts)
    return [out.detach(), *torch.autograd.grad(out.square().sum(), parts)]


def random(*shape: int, seed: int) -> Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("share", [0.0, 0.4])
@pytest.mark.parametrize("bias_shape", [(1, N_HEADS, 5, 5), (3, 1, 5, 5), (1, 1, 5, 5), (3, N_HEADS, 5, 5)])
def test_tokens_read_each_other(bias_shape: tuple[int, ...], share: float) -> None:
    dropout, is_later = Dropout(share), torch.ones(5, 5, dtype=torch.bool).triu(1)
    given = random(*bias_shape, seed=0), random(3, 5, 3 * WIDTH, seed=1)
    ours = found(lambda bias, packed: attend(bias.masked_fill(is_later, -torch.inf), N_HEADS, dropout, packed), *given)
    expected = found(lambda bias, packed: plain(bias.masked_fill(is_later, -torch.inf), dropout, *packed.chunk(3, 2)), *given)
    for mine, theirs in zip(ours, expected, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_tokens_read_a_memory() -> None:
    dropout = Dropout(0.0)
    given = random(3, 1, 4, 7, seed=0), random(3, 4, WIDTH, seed=1), random(3, 7, 2 * WIDTH, seed=2)
    ours = found(lambda bias, query, memory: attend(bias, N_HEADS, dropout, query, memory), *given)
    expected = found(lambda bias, query, memory: plain(bias, dropout, query, *memory.chunk(2, 2)), *given)
    for mine, theirs in zip(ours, expected, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_without_gradient_and_under_autocast_it_is_the_same() -> None:
    bias, packed = random(1, N_HEADS, 5, 5, seed=0).float(), random(3, 5, 3 * WIDTH, seed=1).float()
    expected = attend(bias, N_HEADS, Dropout(0.0), packed)
    with torch.no_grad():
        torch.testing.assert_close(attend(bias, N_HEADS, Dropout(0.0), packed), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = attend(bias, N_HEADS, Dropout(0.0), packed.bfloat16())
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), expected, rtol=0.1, atol=0.2)


def test_large_scores_are_no_infinities() -> None:
    packed = (1e3 * random(1, 4, 3 * WIDTH, seed=1)).float().requires_grad_()
    out = attend(torch.zeros(1, 1, 4, 4), N_HEADS, Dropout(0.0), packed)
    out.sum().backward()
    assert out.isfinite().all()
    assert packed.grad.isfinite().all()
