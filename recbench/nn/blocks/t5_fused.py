"""Steps of a T5 layer with their gradients, each in the fewest passes over memory, for training on a CPU.

On a CPU a training step of a small network spends as long on norms, dropout and sums as on products, most of it on reading and writing what
stands between them. Each function here is the plain composition of its docstring, and is computed as that where it is not on a CPU in full
precision.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from recbench.nn.compute.dropout import Dropout, dropout_factor, n_dropped_of_256
from recbench.nn.compute.projection import gradient_of_weight, product

# N rows, X width in, Y width out; leading dimensions may be several


def normed_linear(x: Tensor, gain_X: Tensor, epsilon: float, *weights: Tensor) -> Tensor:
    """`(x / rms(x) * gain) @ weight.T` for one weight (Y, X) after another, side by side: (..., sum of Y).

    The norm is that of arXiv:1910.07467: no mean is taken off. Its gain is multiplied into the weights, which are smaller than `x`.
    """
    if is_plain(x):
        out: Tensor = _NormedLinear.apply(x.flatten(0, -2), gain_X, epsilon, *weights)  # type: ignore[no-untyped-call]
        return out if x.dim() == 2 else out.view(*x.shape[:-1], out.shape[1])
    mean_square = x.float().square().mean(-1, keepdim=True)
    normed = (x * torch.rsqrt(mean_square + epsilon)).to(gain_X.dtype) * gain_X
    return functional.linear(normed, torch.cat(weights))


def dropped_relu(x: Tensor, dropout: Dropout) -> Tensor:
    """`dropout(relu(x))`; `x` itself may be overwritten. The gradient of a view is copied three times more than that of a whole tensor."""
    if not is_plain(x):
        dropped: Tensor = dropout(functional.relu(x))
        return dropped
    out: Tensor = _DroppedRelu.apply(x, dropout.share if dropout.training else 0.0)  # type: ignore[no-untyped-call]
    return out


def plus_dropped_linear(residual: Tensor, x: Tensor, weight_YX: Tensor, dropout: Dropout) -> Tensor:
    """`residual + dropout(x @ weight.T)`, (..., Y)."""
    if not is_plain(x):
        added: Tensor = residual + dropout(functional.linear(x, weight_YX))
        return added
    share = dropout.share if dropout.training else 0.0
    out: Tensor = _PlusDroppedLinear.apply(residual.reshape(-1, len(weight_YX)), x.flatten(0, -2), weight_YX, share)  # type: ignore[no-untyped-call]
    return out.view(residual.shape)


def is_plain(x: Tensor) -> bool:
    """Whether `x` is on a CPU, in full precision and not in a compiled part."""
    return x.device.type == "cpu" and not torch.is_autocast_enabled("cpu") and not torch.compiler.is_compiling()


class _NormedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_NX: Tensor, gain_X: Tensor, epsilon: float, *weights: Tensor) -> Tensor:
        length_N1 = torch.linalg.vector_norm(x_NX, dim=-1, keepdim=True)
        inverse_N1 = length_N1.square_().div_(x_NX.shape[1]).add_(epsilon).rsqrt_()
        normed_NX = x_NX * inverse_N1
        scaled_YX = torch.cat([weight * gain_X for weight in weights])
        ctx.save_for_backward(normed_NX, inverse_N1, gain_X, scaled_YX, *weights)
        return product(normed_NX, scaled_YX)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NY: Tensor) -> tuple[Tensor | None, ...]:
        normed_NX, inverse_N1, gain_X, scaled_YX, *weights = ctx.saved_tensors
        wants_x, wants_gain, _, *wants_weight = ctx.needs_input_grad
        grad_x = grad_gain = None
        grad_weights: list[Tensor | None] = [None] * len(weights)
        if wants_gain or any(wants_weight):
            grad_scaled = torch.split(gradient_of_weight(grad_NY, normed_NX), [len(weight) for weight in weights])
            grad_weights = [part * gain_X if wants else None for part, wants in zip(grad_scaled, wants_weight, strict=True)]
            if wants_gain:
                grad_gain = sum((part * weight).sum(0) for part, weight in zip(grad_scaled, weights, strict=True))
        if wants_x:
            grad_normed = product(grad_NY, scaled_YX.T)
            # What points along x only makes it longer, which the norm undoes.
            along_N1 = torch.linalg.vecdot(grad_normed, normed_NX)[:, None] / -normed_NX.shape[1]
            grad_x = grad_normed.addcmul_(normed_NX, along_N1).mul_(inverse_N1)
        return grad_x, grad_gain, None, *grad_weights


class _DroppedRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, share: float) -> Tensor:
        ctx.mark_dirty(x)
        ctx.scale = None
        x.relu_()
        if share:
            x.mul_(dropout_factor(x, share))
            ctx.scale = 256 / (256 - n_dropped_of_256(share))
        # Zeros say where nothing flows back, whichever of the two made them.
        ctx.save_for_backward(x)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (out,) = ctx.saved_tensors
        grad = torch.ops.aten.threshold_backward(grad, out, 0)
        return grad if ctx.scale is None else grad.mul_(ctx.scale), None


class _PlusDroppedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, residual_NY: Tensor, x_NX: Tensor, weight_YX: Tensor, share: float) -> Tensor:
        out_NY = product(x_NX, weight_YX)
        factor_NY = dropout_factor(out_NY, share) if share else None
        ctx.save_for_backward(x_NX, weight_YX, factor_NY)
        return out_NY.add_(residual_NY) if factor_NY is None else torch.addcmul(residual_NY, out_NY, factor_NY, out=out_NY)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NY: Tensor) -> tuple[Tensor | None, ...]:
        x_NX, weight_YX, factor_NY = ctx.saved_tensors
        _, wants_x, wants_weight, _ = ctx.needs_input_grad
        grad_out = grad_NY if factor_NY is None else grad_NY * factor_NY
        grad_x = product(grad_out, weight_YX.T) if wants_x else None
        return grad_NY, grad_x, gradient_of_weight(grad_out, x_NX) if wants_weight else None, None
