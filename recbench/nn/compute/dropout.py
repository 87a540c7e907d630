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
        n_dropped = min(max(round(256 * self.share), 1), 255)
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        is_kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= n_dropped
        return x * is_kept.to(x.dtype).mul_(256 / (256 - n_dropped))
