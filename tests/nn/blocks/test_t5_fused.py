"""The fused steps of a T5 layer are the plain ones, forwards and backwards, and dropout drops what it says."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import T5Config
from transformers.models.t5.modeling_t5 import T5LayerFF, T5LayerSelfAttention

from recbench.nn.blocks import feed_forward, normed_linear, plus_dropped_linear, replace_dropout, self_attention
from recbench.nn.blocks.t5_fused import dropped_relu
from recbench.nn.compute import Dropout

EPSILON = 1e-3
"""Large, so that a norm that forgets it is found out."""


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


def plain_norm(x: Tensor, gain: Tensor) -> Tensor:
    return x / torch.sqrt(x.square().mean(-1, keepdim=True) + EPSILON) * gain


def assert_same(ours: Callable[..., Tensor], plain: Callable[..., Tensor], *given: Tensor) -> None:
    found = []
    for compute in (ours, plain):
        parts = [part.detach().clone().requires_grad_() for part in given]
        out = compute(*parts)
        out.backward(torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view(out.shape))
        found.append([out.detach(), *(part.grad for part in parts)])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("leading", [(6,), (2, 3), (2, 1, 3), (0,)])
def test_norm_and_products_are_those_of_the_plain_composition(leading: tuple[int, ...]) -> None:
    # One weight is taller than wide, one wider than tall.
    given = random(*leading, 5), random(5, seed=1), random(7, 5, seed=2), random(3, 5, seed=3)
    assert_same(
        lambda x, gain, *weights: normed_linear(x, gain, EPSILON, *weights),
        lambda x, gain, *weights: plain_norm(x, gain) @ torch.cat(weights).T,
        *given,
    )


def test_only_what_needs_a_gradient_of_the_norm_gets_one() -> None:
    x, gain, first, second = random(4, 5), random(5), random(2, 5), random(3, 5)
    for part in (x, gain, second):
        part.requires_grad_(False)
    normed_linear(x, gain, EPSILON, first, second).sum().backward()
    torch.testing.assert_close(first.grad, plain_norm(x, gain).sum(0).expand(2, -1))
    assert x.grad is None
    assert gain.grad is None
    assert second.grad is None


def test_a_row_of_zeros_stays_one_and_has_a_gradient() -> None:
    x = torch.zeros(1, 4, requires_grad=True)
    out = normed_linear(x, torch.ones(4), 1e-6, torch.eye(4))
    out.sum().backward()
    assert out.tolist() == [[0.0] * 4]
    torch.testing.assert_close(x.grad, torch.full((1, 4), 1e3))


def test_sums_with_products_are_those_of_the_plain_composition() -> None:
    given = random(2, 3, 4), random(2, 3, 6, seed=1), random(4, 6, seed=2)
    assert_same(
        lambda residual, x, weight: plus_dropped_linear(residual, x, weight, Dropout(0.0)),
        lambda residual, x, weight: residual + x @ weight.T,
        *given,
    )


def test_numbers_that_are_dropped_are_those_of_the_layer_and_get_no_gradient() -> None:
    dropout = Dropout(0.5)

    def seeded(compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def call(*parts: Tensor) -> Tensor:
            torch.manual_seed(3)
            return compute(*parts)

        return call

    x, weight = random(40, 6), random(4, 6, seed=2)
    assert_same(
        seeded(lambda residual, x, weight: plus_dropped_linear(residual, x, weight, dropout)),
        seeded(lambda residual, x, weight: residual + dropout(x @ weight.T)),
        random(40, 4, seed=1), x, weight,
    )  # fmt: skip
    # `+ 0` because the step may overwrite what it is given.
    assert_same(seeded(lambda x: dropped_relu(x + 0, dropout)), seeded(lambda x: dropout(functional.relu(x))), x)
    dropout.eval()
    assert_same(lambda x: dropped_relu(x + 0, dropout), functional.relu, x)


@pytest.mark.parametrize("kind", ["relu", "gated-gelu", "gelu"])
def test_layers_are_the_librarys(kind: str) -> None:
    torch.manual_seed(0)
    config = T5Config(d_model=8, d_kv=3, num_heads=2, d_ff=12, feed_forward_proj=kind, dropout_rate=0.0)
    attention, network = T5LayerSelfAttention(config, has_relative_attention_bias=True).double(), T5LayerFF(config).double()
    for norm in (attention.layer_norm, network.layer_norm):
        nn.init.uniform_(norm.weight, 0.5, 2.0)
    state = random(3, 5, 8)
    bias = attention.SelfAttention.compute_bias(5, 5).detach()
    read = attention(state, position_bias=bias)[0]
    expected = network(read)
    given = [state, *attention.parameters(), *network.parameters()]
    gradients = torch.autograd.grad(expected.square().sum(), given, allow_unused=True)
    for layer in (attention, network):
        replace_dropout(layer)
    found = feed_forward(network, self_attention(attention, state, bias, 2, Dropout(0.0)))
    # The library takes the mean square in float32, whatever the state is in.
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    for mine, theirs in zip(torch.autograd.grad(found.square().sum(), given, allow_unused=True), gradients, strict=True):
        if theirs is not None:
            torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


def test_autocast_decides_the_type() -> None:
    x, gain, weight = torch.randn(3, 5), torch.ones(5), torch.randn(4, 5, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert normed_linear(x, gain, EPSILON, weight).dtype == torch.bfloat16
        assert plus_dropped_linear(torch.zeros(3, 4, dtype=torch.bfloat16), x, weight, Dropout(0.0)).dtype == torch.bfloat16
    assert normed_linear(x, gain, EPSILON, weight).dtype == torch.float32


def test_a_layer_overwrites_no_view_whose_gradient_would_be_copied_to_and_fro() -> None:
    layer = T5LayerFF(T5Config(d_model=8, d_ff=16, dropout_rate=0.1, feed_forward_proj="relu"))
    replace_dropout(layer)
    result = feed_forward(layer, torch.randn(2, 3, 8))  # kept: older torch frees a graph with the last tensor that leads to it
    nodes, names = [result.grad_fn], set()
    while nodes:
        node = nodes.pop()
        names.add(node.name())
        nodes += [before for before, _ in node.next_functions if before is not None]
    assert any("DroppedRelu" in name for name in names)
    assert "CopySlices" not in names
