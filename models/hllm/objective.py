"""The contrastive loss over cosines (arXiv:2409.12740, equation 1)."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from recbench.nn.compute import gradient_of_weight, product

# S trained places, s of one chunk, N negatives that all of them share, D width

INITIAL_LOG_SCALE = math.log(1 / 0.07)
MAX_LOG_SCALE = math.log(100.0)
_BITS_PER_NAT = 1 / math.log(2)
_CHUNK_NUMBERS = {"cpu": 2**18, "cuda": 2**25}
"""How many cosines stand in memory at a time; on a CPU they should stay in its caches."""


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

    Cosines stand in memory for some places at a time, and all gradients are made in the same pass. It can be differentiated once.

    Args:
        query_SD: states of the user tower, of length 1.
        positive_SD: the targets' vectors, of length 1.
        pool_ND: the negatives' vectors, of length 1.
        scale: one over the temperature.
        is_false_SN: (S, N) bool, which negatives do not count at a place.
    """
    device = query_SD.device.type
    product_type = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
    loss, n_candidates, n_in_front = _InfoNCE.apply(query_SD, positive_SD, pool_ND, scale, is_false_SN, product_type)  # type: ignore[no-untyped-call]
    return Contrast(loss, n_candidates, n_in_front, len(pool_ND))


class _InfoNCE(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query_SD: Tensor, positive_SD: Tensor, pool_ND: Tensor, scale: Tensor, is_false_SN: Tensor, product_type: torch.dtype
    ) -> tuple[Tensor, Tensor, Tensor]:
        device = query_SD.device.type
        n_rows = max(1, _CHUNK_NUMBERS.get(device, _CHUNK_NUMBERS["cuda"]) // max(1, len(pool_ND)))
        n_candidates_S, n_in_front_S = torch.empty(2, len(query_SD), dtype=torch.int64, device=query_SD.device)
        loss = query_SD.new_zeros(())
        mean_SD, wrong_S1 = torch.empty_like(query_SD), query_SD.new_empty(len(query_SD), 1)
        grad_pool: Tensor | None = None
        with torch.autocast(device, enabled=False):
            # Counted in bits: on a CPU torch's power of two takes a quarter of the time of its exponential.
            bits_SD, pool = query_SD * (scale * _BITS_PER_NAT), pool_ND.to(product_type)
            near_S1 = (bits_SD * positive_SD).sum(1, keepdim=True)
            for start in range(0, len(query_SD), n_rows):
                part = slice(start, start + n_rows)
                near_s1 = near_S1[part]
                far_sN = product(bits_SD[part].to(product_type), pool).float().masked_fill_(is_false_SN[part], -torch.inf)
                # Counted as float32, which takes a fraction of the time of truth values.
                is_there_sN = torch.gt(far_sN, -torch.inf, out=torch.empty_like(far_sN))
                n_candidates_S[part] = is_there_sN.sum(1).long() + 1
                n_in_front_S[part] = torch.gt(far_sN, near_s1, out=is_there_sN).sum(1).long()
                max_s1 = torch.maximum(far_sN.amax(1, keepdim=True), near_s1) if len(pool_ND) else near_s1
                weight_sN, own_s1 = far_sN.sub_(max_s1).exp2_(), (near_s1 - max_s1).exp2_()
                sum_s1 = weight_sN.sum(1, keepdim=True).add_(own_s1)
                loss += (sum_s1.log2() + max_s1 - near_s1).sum()
                if not any(ctx.needs_input_grad):
                    continue
                # Dividing the small factors by the sum is cheaper than dividing all weights.
                weight_sN = weight_sN.to(product_type)
                mean_SD[part] = product(weight_sN, pool.T).float().div_(sum_s1)
                wrong_S1[part] = own_s1.div_(sum_s1).sub_(1)
                grad_part = gradient_of_weight(weight_sN, (query_SD[part] * (scale / sum_s1)).to(product_type)).float()
                grad_pool = grad_part if grad_pool is None else grad_pool.add_(grad_part)
            ctx.mark_non_differentiable(n_candidates_S, n_in_front_S)
            grad_query = torch.addcmul(mean_SD, wrong_S1, positive_SD)
            # The derivative by the scale is the query's product with that by the cosines' other side.
            grad_scale = (grad_query * query_SD).sum()
        ctx.save_for_backward(grad_query.mul_(scale), query_SD * (wrong_S1 * scale), grad_pool, grad_scale)
        return loss / _BITS_PER_NAT, n_candidates_S, n_in_front_S

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        return *(None if part is None else part * grad for part in ctx.saved_tensors), None, None


def unit(vectors: Tensor) -> Tensor:
    """Every vector at length 1, in float32; zeros stay zeros."""
    return functional.normalize(vectors.float(), dim=-1)
