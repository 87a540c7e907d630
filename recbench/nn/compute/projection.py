"""Matrix products, by the library that is fast at them here.

On processors that are not Intel's oneDNN multiplies float32 matrices faster than MKL, which torch asks by itself
(`benchmarks/beam_search.py --parts products`). The products are those of float32 either way, up to the order of their sums.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


def _has_packed_products() -> bool:
    """Whether this torch was built with oneDNN and has the two operators; they are those of its own compiler, not of its documented API."""
    return bool(torch.backends.mkldnn.is_available()) and all(  # type: ignore[no-untyped-call]
        hasattr(torch.ops.mkldnn, name) for name in ("_reorder_linear_weight", "_linear_pointwise")
    )


_HAS_PACKED_PRODUCTS = _has_packed_products()


def product(x_NX: Tensor, y_YX: Tensor, bias_Y: Tensor | None = None) -> Tensor:
    """`x @ y.T`, (N, Y), plus a bias to each row, without gradient; either may be a transposed view."""
    is_plain = x_NX.device.type == "cpu" and x_NX.dtype == y_YX.dtype == torch.float32 and _HAS_PACKED_PRODUCTS
    if not is_plain or x_NX.numel() == 0 or y_YX.numel() == 0 or torch.is_autocast_enabled("cpu"):
        return functional.linear(x_NX, y_YX, bias_Y)
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x_NX, y_YX, bias_Y, "none", [], "")
    return out


def gradient_of_weight(grad_NY: Tensor, x_NX: Tensor) -> Tensor:
    """`grad.T @ x`, (Y, X). Results with long rows are made faster, so a tall one is made lying."""
    is_tall = grad_NY.shape[1] > x_NX.shape[1]
    return product(x_NX.T, grad_NY.T).T if is_tall else product(grad_NY.T, x_NX.T)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x @ weight.T + bias`, for training: (..., X), (Y, X) and (Y,) give (..., Y)."""
    if x.device.type != "cpu" or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
        return functional.linear(x, weight, bias)
    out: Tensor = _Linear.apply(x.reshape(-1, x.shape[-1]), weight, bias)  # type: ignore[no-untyped-call]
    return out.view(*x.shape[:-1], len(weight))


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_NX: Tensor, weight_YX: Tensor, bias_Y: Tensor | None) -> Tensor:
        ctx.save_for_backward(x_NX, weight_YX)
        return product(x_NX, weight_YX, bias_Y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NY: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x_NX, weight_YX = ctx.saved_tensors
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        grad_x = product(grad_NY, weight_YX.T) if wants_x else None
        grad_weight = gradient_of_weight(grad_NY, x_NX) if wants_weight else None
        return grad_x, grad_weight, grad_NY.sum(0) if wants_bias else None


class Linear(nn.Linear):
    """torch's layer with the products of `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., Y)."""
        return linear(x, self.weight, self.bias)


def replace_linear(module: nn.Module) -> None:
    """Put `Linear` in the place of torch's layers, everywhere below `module`; the parameters stay the same objects."""
    for name, child in module.named_children():
        if type(child) is nn.Linear:
            replacement = Linear(child.in_features, child.out_features, bias=child.bias is not None, device="meta")
            replacement.weight, replacement.bias = child.weight, child.bias
            setattr(module, name, replacement)
        else:
            replace_linear(child)


class Projection:
    """`x @ weight.T`, for inference.

    In float32 on a CPU the weight is put once into the order in which oneDNN reads it. Elsewhere it is torch's product.

    Args:
        weight: (Y, X).
    """

    def __init__(self, weight: Tensor) -> None:
        weight = weight.detach().contiguous()
        self.n_out = len(weight)
        is_packed = weight.device.type == "cpu" and weight.dtype == torch.float32 and _HAS_PACKED_PRODUCTS
        self._packed: Tensor | None = torch.ops.mkldnn._reorder_linear_weight(weight) if is_packed else None
        self._weight = weight

    def __call__(self, x_NX: Tensor) -> Tensor:
        """(N, Y)."""
        if self._packed is None:
            return functional.linear(x_NX, self._weight)
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x_NX, self._packed, None, "none", [], "")
        return out

    def relu(self, x_NX: Tensor) -> Tensor:
        """What of the product is positive, (N, Y)."""
        if self._packed is None:
            return functional.linear(x_NX, self._weight).relu_()
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x_NX, self._packed, None, "relu", [], "")
        return out
