"""Dropout that draws little on a CPU."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Dropout(nn.Module):
    """Dropout that draws one random byte per number on a CPU.

    The share is a multiple of 1/256, the nearest one; what stays is divided by the share that stays, so means are kept.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """`x`, in training with numbers set to zero at random."""
        if not self.training or self.share == 0.0:
            return x
        if x.device.type != "cpu":
            return functional.dropout(x, self.share)
        return x * dropout_factor(x, self.share)


def n_dropped_of_256(share: float) -> int:
    """How many of the 256 values of a byte stand for a number that is dropped; neither none nor all."""
    return min(max(round(256 * share), 1), 255)


def dropout_factor(x: Tensor, share: float) -> Tensor:
    """What numbers on a CPU are multiplied with, shaped and typed like `x`: 0 at random, else so much above 1 that means are kept."""
    n_dropped = n_dropped_of_256(share)
    words = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
    drawn = words.view(torch.uint8)[: x.numel()].view(x.shape)
    # Written as numbers at once: truth values take several times as long to make and to convert.
    factor = torch.ge(drawn, n_dropped, out=torch.empty_like(x, memory_format=torch.contiguous_format))
    return factor.mul_(256 / (256 - n_dropped))
