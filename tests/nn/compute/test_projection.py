"""Products with oneDNN are torch's own, forwards and backwards."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from recbench.nn.compute.projection import Linear, Projection, linear, product, replace_linear


@pytest.mark.parametrize("n_out", [3, 11])
@pytest.mark.parametrize("shape", [(7,), (5, 7), (2, 3, 7), (2, 1, 3, 7), (0, 7)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_are_torchs(shape: tuple[int, ...], dtype: torch.dtype, n_out: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator, dtype=dtype)
    weight = torch.randn(n_out, 7, generator=generator, dtype=dtype)
    bias = torch.randn(n_out, generator=generator, dtype=dtype)
    down = torch.randn(*shape[:-1], n_out, generator=generator, dtype=dtype)
    for given in ((x, weight), (x, weight, bias)):
        _assert_alike(given, down)


def _assert_alike(given: tuple[torch.Tensor, ...], down: torch.Tensor) -> None:
    found = []
    for multiply in (linear, functional.linear):
        parts = [part.clone().requires_grad_() for part in given]
        out = multiply(*parts)
        out.backward(down)
        found.append((out.detach(), *(part.grad for part in parts)))
    for ours, torchs in zip(*found, strict=True):
        torch.testing.assert_close(ours, torchs, rtol=1e-5, atol=1e-5)


def test_views_may_be_transposed_and_only_what_needs_a_gradient_gets_one() -> None:
    x, y = torch.randn(7, 5), torch.randn(7, 11)
    torch.testing.assert_close(product(x.T, y.T), x.T @ y, rtol=1e-5, atol=1e-5)
    weight = torch.randn(11, 5, requires_grad=True)
    linear(x, weight).sum().backward()
    torch.testing.assert_close(weight.grad, x.sum(0).expand(11, -1), rtol=1e-5, atol=1e-5)
    assert x.grad is None


def test_autocast_decides_the_type() -> None:
    x, weight = torch.randn(3, 5), torch.randn(4, 5, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert linear(x, weight).dtype == torch.bfloat16
    assert linear(x, weight).dtype == torch.float32


def test_layers_are_replaced_with_their_parameters_and_ties() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(6, 4)
            self.head = nn.Linear(4, 6, bias=False)
            self.head.weight = self.table.weight
            self.inner = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4))

    module = Tied()
    names = {name: id(parameter) for name, parameter in module.named_parameters(remove_duplicate=False)}
    x = torch.randn(3, 4)
    before = module.head(module.inner(x))
    replace_linear(module)
    assert type(module.head) is Linear
    assert type(module.inner[0]) is Linear
    assert type(module.inner[1]) is Linear
    assert {name: id(parameter) for name, parameter in module.named_parameters(remove_duplicate=False)} == names
    torch.testing.assert_close(module.head(module.inner(x)), before, rtol=1e-5, atol=1e-5)


def test_a_projection_is_the_same_product() -> None:
    x, weight = torch.randn(9, 5), torch.randn(4, 5)
    torch.testing.assert_close(Projection(weight)(x), functional.linear(x, weight), rtol=1e-5, atol=1e-5)
