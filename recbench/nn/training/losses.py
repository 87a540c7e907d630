"""Losses over a catalogue of items: full cross-entropy in bounded memory, and losses that sample negatives.

Each returns the sum over slots, so that gradients of several processes or of accumulated parts add up; the caller divides by the number of
slots of the whole batch.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from recbench.nn.compute.projection import gradient_of_weight, product

# S slots (places of a sequence with a target), s slots of one chunk, I items, D width, K negatives

_CHUNK_BYTES = {"cpu": 6 * 2**20, "cuda": 2**28}
"""On a CPU the logits of a chunk should stay in its caches; a GPU wants few, large kernels."""
_MIN_CHUNK_SLOTS = 64
"""Fewer slots than that and the products would mostly wait for the items' vectors."""
_BITS_PER_NAT = 1 / math.log(2)
_SAFE_BITS = 90.0
"""Two to this power and its inverse have all digits in float32, and so has a sum of as many powers as there are items."""
_GATHERED_BYTES = {"cpu": 2**20, "cuda": 2**28}
"""How large the items' vectors that one chunk of slots gathers may be; on a CPU they are used twice while they stand in its caches."""


def full_cross_entropy(hidden_SD: Tensor, item_ID: Tensor, target_S: Tensor, *, chunk_bytes: int | None = None) -> Tensor:
    """Sum over slots of `logsumexp_j(h . e_j) - h . e_target`, a scalar in float32 (float64 for float64 inputs).

    Logits stand in memory for one chunk of slots at a time; both gradients are made in the same pass, so nothing of size slots x items is
    ever kept. Under autocast the products run in the autocast type, the softmax always in float32. It can be differentiated once.

    Args:
        hidden_SD: (S, D), what the model knows at each slot.
        item_ID: (I, D), the items' output vectors.
        target_S: (S,) int64 rows of `item_ID`.
        chunk_bytes: how large the logits of one chunk may be; one slot at least is taken. None: what suits the device, 64 slots at least.
    """
    device = hidden_SD.device.type
    if chunk_bytes is None:
        chunk_bytes = max(_CHUNK_BYTES.get(device, _CHUNK_BYTES["cuda"]), _MIN_CHUNK_SLOTS * hidden_SD.element_size() * len(item_ID))
    matmul_type = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    loss: Tensor = _FullCrossEntropy.apply(hidden_SD, item_ID, target_S, chunk_bytes, matmul_type)  # type: ignore[no-untyped-call]
    return loss


class _FullCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_SD: Tensor, item_ID: Tensor, target_S: Tensor, chunk_bytes: int, matmul_type: torch.dtype | None
    ) -> Tensor:
        wants_hidden, wants_item = ctx.needs_input_grad[:2]
        exact = torch.float64 if hidden_SD.dtype == torch.float64 else torch.float32
        with torch.autocast(hidden_SD.device.type, enabled=False):
            product_type = matmul_type or exact
            # Logits are counted in bits: on a CPU torch's power of two takes a quarter of the time of its exponential.
            hidden, item = (hidden_SD.to(exact) * _BITS_PER_NAT).to(product_type), item_ID.to(product_type)
            n_slots, n_items = len(hidden_SD), len(item_ID)
            rows = max(1, min(n_slots, chunk_bytes // (torch.finfo(exact).bits // 8 * n_items)))
            # Where no logit can be large, powers need not be taken relative to the largest one. To ask a GPU would mean to wait for it.
            is_small = hidden.device.type == "cpu" and n_slots > 0 and _largest(hidden) * _largest(item) < _SAFE_BITS
            loss = hidden.new_zeros((), dtype=exact)
            grad_hidden = torch.empty_like(hidden, dtype=exact) if wants_hidden else None
            grad_item = torch.zeros_like(item_ID, dtype=exact) if wants_item and n_slots == 0 else None
            for start in range(0, n_slots, rows):
                hidden_sD = hidden[start : start + rows]
                target_s1 = target_S[start : start + rows, None]
                logit_sI = product(hidden_sD, item).to(exact)
                if is_small:
                    loss -= logit_sI.gather(1, target_s1).sum()
                else:
                    max_s1 = logit_sI.amax(1, keepdim=True)
                    loss -= (logit_sI.gather(1, target_s1) - max_s1).sum()
                    logit_sI.sub_(max_s1)
                weight_sI = logit_sI.exp2_()
                sum_s1 = weight_sI.sum(1, keepdim=True)
                loss += sum_s1.log2().sum()
                if grad_hidden is None and not wants_item:
                    continue
                # The softmax minus one at the target, times the row's sum: dividing the small factors is cheaper than dividing all weights.
                weight_sI.scatter_add_(1, target_s1, -sum_s1)
                weight = weight_sI.to(product_type)
                if grad_hidden is not None:
                    grad_hidden[start : start + rows] = product(weight, item.T).to(exact).div_(sum_s1)
                if wants_item:
                    part = gradient_of_weight(weight, (hidden_sD.to(exact) / (sum_s1 * _BITS_PER_NAT)).to(product_type)).to(exact)
                    grad_item = part if grad_item is None else grad_item.add_(part)
        # Where items are read as well, gradients are added up, which takes several times as long where one lies and the others stand.
        ctx.save_for_backward(
            None if grad_hidden is None else grad_hidden.to(hidden_SD.dtype),
            None if grad_item is None else grad_item.to(item_ID.dtype).contiguous(),
        )
        return loss / _BITS_PER_NAT

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        grad_hidden, grad_item = (None if part is None else _scaled(part, grad) for part in ctx.saved_tensors)
        return grad_hidden, grad_item, None, None, None


def _scaled(gradient: Tensor, factor: Tensor) -> Tensor:
    """`gradient * factor`, which is no new tensor where the loss itself is differentiated: of a large catalogue a copy takes longer than
    AdamW. To ask a GPU for the factor would mean to wait for it."""
    return gradient if factor.device.type == "cpu" and factor.item() == 1.0 else gradient * factor


def _largest(vectors_ND: Tensor) -> float:
    """The length of the longest vector."""
    return float(torch.linalg.vector_norm(vectors_ND.float(), dim=1).max())


def binary_cross_entropy(positive_S: Tensor, negative_SK: Tensor) -> Tensor:
    """Sum over slots of `-log sigmoid(r_+) - sum_j log(1 - sigmoid(r_j))`, a float32 scalar.

    arXiv:1808.09781, section III-E, with K = 1.
    """
    return -(functional.logsigmoid(positive_S.float()).sum() + functional.logsigmoid(-negative_SK.float()).sum())


def generalised_binary_cross_entropy(positive_S: Tensor, negative_SK: Tensor, n_items: int, calibration: float) -> Tensor:
    """Sum over slots of `-(beta log sigmoid(r_+) + sum_j log(1 - sigmoid(r_j))) / (K + 1)`, a float32 scalar.

    arXiv:2308.07192, section 5: the positive is raised to the power beta, which undoes the overconfidence that sampling causes. With
    K = 1 and calibration 0 it is half of `binary_cross_entropy`, as in the authors' code, which averages over the K + 1 terms.

    Args:
        positive_S: (S,) scores of the targets.
        negative_SK: (S, K) scores of negatives drawn uniformly.
        n_items: size of the catalogue.
        calibration: `t` of the paper, from 0 (plain) to 1 (probabilities as if nothing had been sampled).
    """
    n_negatives = negative_SK.shape[1]
    rate = n_negatives / (n_items - 1)
    beta = rate * (calibration * (1 - 1 / rate) + 1 / rate)
    # beta * logsigmoid is exact in float32, where raising the sigmoid itself to beta would need float64.
    total = beta * functional.logsigmoid(positive_S.float()).sum() + functional.logsigmoid(-negative_SK.float()).sum()
    return -total / (n_negatives + 1)


def sampled_softmax(positive_S: Tensor, negative_SK: Tensor, log_rate_SK: Tensor | None = None) -> Tensor:
    """Sum over slots of `logsumexp(r_+, r_1 .. r_K) - r_+`, a float32 scalar.

    With all other items as negatives it is the full cross-entropy.

    Args:
        positive_S: (S,) scores of the targets.
        negative_SK: (S, K) scores of the negatives.
        log_rate_SK: log of the expected number of times each negative is drawn, where the draw is not uniform; it is subtracted.
    """
    negative = negative_SK.float()
    if log_rate_SK is not None:
        negative = negative - log_rate_SK
    positive = positive_S.float()
    return (torch.logsumexp(torch.cat([positive[:, None], negative], 1), 1) - positive).sum()


def sampled_cross_entropy(
    hidden_SD: Tensor, item_ID: Tensor, target_S: Tensor, negative_SK: Tensor, *, mask_hits: bool = False, chunk_bytes: int | None = None
) -> Tensor:
    """Sum over slots of `logsumexp(h . e_target, h . e_1 .. h . e_K) - h . e_target`: `sampled_softmax` with negatives of each slot's own.

    Vectors of negatives are gathered for one chunk of slots at a time and both gradients are made in the same pass, so that neither
    S x K vectors nor their gradients ever stand in memory. Sums are float32 (float64 for float64 inputs), under autocast too. It can be
    differentiated once.

    Args:
        hidden_SD: (S, D), what the model knows at each slot.
        item_ID: (I, D), the items' output vectors.
        target_S: (S,) int64 rows of `item_ID`.
        negative_SK: (S, K) int64 rows of `item_ID`.
        mask_hits: leave out negatives that are the slot's target.
        chunk_bytes: how large the vectors of one chunk may be; one slot at least is taken. None: what suits the device.
    """
    if chunk_bytes is None:
        chunk_bytes = _GATHERED_BYTES.get(hidden_SD.device.type, _GATHERED_BYTES["cuda"])
    loss: Tensor = _SampledCrossEntropy.apply(hidden_SD, item_ID, target_S, negative_SK, mask_hits, chunk_bytes)  # type: ignore[no-untyped-call]
    return loss


class _SampledCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_SD: Tensor, item_ID: Tensor, target_S: Tensor, negative_SK: Tensor, mask_hits: bool, chunk_bytes: int
    ) -> Tensor:
        wants_gradients = any(ctx.needs_input_grad[:2])
        exact = torch.float64 if hidden_SD.dtype == torch.float64 else torch.float32
        with torch.autocast(hidden_SD.device.type, enabled=False):
            hidden, item = hidden_SD.to(exact), item_ID.to(exact)
            row_bytes = item.element_size() * item.shape[1] * (negative_SK.shape[1] + 1)
            rows = max(1, chunk_bytes // row_bytes)
            loss = hidden.new_zeros(())
            grad_hidden, grad_item = torch.empty_like(hidden), torch.zeros_like(item)
            for start in range(0, len(hidden), rows):
                hidden_sD, target_s1 = hidden[start : start + rows], target_S[start : start + rows, None]
                # The target is column 0. Places are called C.
                item_sC = torch.cat([target_s1, negative_SK[start : start + rows]], 1)
                vector_sCD = item.index_select(0, item_sC.flatten()).view(*item_sC.shape, -1)
                logit_sC = torch.bmm(vector_sCD, hidden_sD[:, :, None]).squeeze(2)
                if mask_hits:
                    logit_sC[:, 1:].masked_fill_(item_sC[:, 1:] == target_s1, -torch.inf)
                total_s1 = logit_sC.logsumexp(1, keepdim=True)
                loss += (total_s1[:, 0] - logit_sC[:, 0]).sum()
                if not wants_gradients:
                    continue
                weight_sC = logit_sC.sub_(total_s1).exp_()
                weight_sC[:, 0] -= 1
                torch.bmm(weight_sC[:, None], vector_sCD, out=grad_hidden[start : start + rows, None])
                torch.mul(weight_sC[:, :, None], hidden_sD[:, None], out=vector_sCD)
                grad_item.index_add_(0, item_sC.flatten(), vector_sCD.flatten(0, 1))
        ctx.save_for_backward(grad_hidden.to(hidden_SD.dtype), grad_item.to(item_ID.dtype))
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        grad_hidden, grad_item = ctx.saved_tensors
        return _scaled(grad_hidden, grad), _scaled(grad_item, grad), None, None, None, None
