"""The contrastive loss over cosines (arXiv:2409.12740, equation 1)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from recbench.nn.compute import linear

# S trained places, N negatives that all of them share, D width

INITIAL_LOG_SCALE = math.log(1 / 0.07)
MAX_LOG_SCALE = math.log(100.0)
_CHUNK_NUMBERS = 2**25
"""How many cosines stand in memory for the gradient; larger losses are worked through in parts, each computed again for its gradient."""


class Temperature(nn.Module):
    """Scale of cosines: the exponential of a learnt number, kept between 0 and log 100, or a constant."""

    def __init__(self, fixed: float | None) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(INITIAL_LOG_SCALE if fixed is None else -math.log(fixed)), requires_grad=fixed is None)

    def forward(self) -> Tensor:
        """The factor, a scalar; the learnt number itself is clamped first, so that it cannot run away where no gradient calls it back."""
        if self.log_scale.requires_grad:
            with torch.no_grad():
                self.log_scale.clamp_(0.0, MAX_LOG_SCALE)
        return self.log_scale.exp()


class Contrast(NamedTuple):
    """A loss and what it was taken over.

    Attributes:
        loss: sum over the places, a float32 scalar.
        n_candidates: (S,) how many stood to choice at each place, the target included.
        n_in_front: (S,) how many negatives were nearer than the target.
        n_negatives: how many there were before the false ones were left out.
    """

    loss: Tensor
    n_candidates: Tensor
    n_in_front: Tensor
    n_negatives: int


def info_nce(query_SD: Tensor, positive_SD: Tensor, pool_ND: Tensor, scale: Tensor, is_false_SN: Tensor) -> Contrast:
    """Sum over places of `-log softmax(scale * [q . p, q . n_1, ..., q . n_N])[0]` over the negatives that are not false.

    Args:
        query_SD: states of the user tower, of length 1.
        positive_SD: the targets' vectors, of length 1.
        pool_ND: the negatives' vectors, of length 1.
        scale: one over the temperature.
        is_false_SN: (S, N) bool, which negatives do not count at a place.
    """
    n_rows = max(1, _CHUNK_NUMBERS // max(1, len(pool_ND)))
    if len(query_SD) <= n_rows:
        return Contrast(*_contrast(query_SD, positive_SD, pool_ND, scale, is_false_SN), len(pool_ND))
    parts = [
        checkpoint(_contrast, query_SD[rows], positive_SD[rows], pool_ND, scale, is_false_SN[rows], use_reentrant=False)
        for rows in (slice(start, start + n_rows) for start in range(0, len(query_SD), n_rows))
    ]
    losses, candidates, in_front = zip(*parts, strict=True)
    return Contrast(torch.stack(losses).sum(), torch.cat(candidates), torch.cat(in_front), len(pool_ND))


def _contrast(query_SD: Tensor, positive_SD: Tensor, pool_ND: Tensor, scale: Tensor, is_false_SN: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    near_S = (query_SD * positive_SD).sum(1).float()
    far_SN = linear(query_SD, pool_ND).float()
    # Masked behind the multiplication: the scale would get the gradient 0 times infinity.
    logit_SN = (far_SN * scale).masked_fill(is_false_SN, -torch.inf)
    loss = (torch.logsumexp(torch.cat([near_S[:, None] * scale, logit_SN], 1), 1) - near_S * scale).sum()
    with torch.no_grad():
        return loss, (~is_false_SN).sum(1) + 1, ((far_SN > near_S[:, None]) & ~is_false_SN).sum(1)


def unit(vectors: Tensor) -> Tensor:
    """Every vector at length 1, in float32; zeros stay zeros."""
    return functional.normalize(vectors.float(), dim=-1)
