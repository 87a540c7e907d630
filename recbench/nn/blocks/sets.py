"""Blocks for bundles: items with several modalities, sets of items in no order, and the losses that compare them.

What is padded is told by an explicit mask; no item row stands for padding.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbench.core.ragged import Histories

# B bundles, T columns (items of the largest bundle of the batch), S (bundle, item) pairs, N items, M modalities, F features, D width

_SHORTEST_SQUARED = 1e-24
"""Squared length below which a vector counts as zero."""
_LAYER_NORM_EPS = 1e-9
_PADDED_LOGIT = -1e9
"""Finite, so that a bundle without items gives numbers too."""


def unit_rows(x: Tensor) -> Tensor:
    """The rows of `x` divided by their lengths; a zero row stays zero and passes no gradient on.

    `functional.normalize` multiplies the gradient of a zero row by 1e12.
    """
    squared = x.square().sum(-1, keepdim=True)
    is_zero = squared < _SHORTEST_SQUARED
    return x * squared.masked_fill(is_zero, 1.0).rsqrt().masked_fill(is_zero, 0.0)


def xavier_linear(n_in: int, n_out: int, *, bias: bool = True) -> nn.Linear:
    """A linear layer with Xavier-normal weights and a zero bias, drawn from torch's default generator."""
    layer = nn.Linear(n_in, n_out, bias=bias)
    nn.init.xavier_normal_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class ContentTower(nn.Sequential):
    """Three layers that turn a feature vector of an item, (..., F), into a vector of the model's width, (..., D).

    Args:
        n_features: F; the first layer keeps this width.
        hidden: width between the second layer and the third.
        width: D.
    """

    def __init__(self, n_features: int, hidden: int, width: int) -> None:
        super().__init__(
            xavier_linear(n_features, n_features),
            nn.ReLU(),
            xavier_linear(n_features, hidden),
            nn.ReLU(),
            xavier_linear(hidden, width),
        )


class ModalityFusion(nn.Module):
    """One vector for each item from one vector per modality, by self-attention with one head.

    The modalities' vectors are both keys and values; there is no residual connection and no sign of which modality is which.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = xavier_linear(width, width, bias=False)
        self.key = xavier_linear(width, width, bias=False)

    def forward(self, modality_NMD: Tensor) -> Tensor:
        """The fused vectors, (N, D), from modalities' vectors of any length, (N, M, D), which are brought to length one first."""
        unit_NMD = unit_rows(modality_NMD)
        logit_NMM = self.query(unit_NMD) @ self.key(unit_NMD).transpose(1, 2) / math.sqrt(unit_NMD.shape[-1])
        # The mean over rows is taken of the weights, not of what they weigh: M times fewer products.
        weight_NM = logit_NMM.softmax(-1).mean(1)
        return torch.einsum("nm,nmd->nd", weight_NM, unit_NMD)


class BundleAttention(nn.Module):
    """One vector for each bundle from the vectors of its items, whatever their order, by self-attention with one head.

    Layer normalisation without weights, no residual connection; the normalised items are the values. The last layer's outputs are
    averaged over the items of the bundle.

    Args:
        width: D.
        n_layers: attention layers, one after the other.
    """

    def __init__(self, width: int, n_layers: int = 1) -> None:
        super().__init__()
        self.queries = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(n_layers))
        self.keys = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(n_layers))

    def forward(self, item_BTD: Tensor, is_real_BT: Tensor) -> Tensor:
        """The bundles' vectors, (B, D); zero for a bundle without items.

        Args:
            item_BTD: (B, T, D), finite also where padded.
            is_real_BT: (B, T) bool, False where padded.
        """
        is_padded_BT = ~is_real_BT
        scale = 1.0 / math.sqrt(item_BTD.shape[-1])
        for query, key in zip(self.queries, self.keys, strict=True):
            value_BTD = functional.layer_norm(item_BTD, item_BTD.shape[-1:], eps=_LAYER_NORM_EPS)
            logit_BTT = query(value_BTD) @ key(value_BTD).transpose(1, 2) * scale
            item_BTD = logit_BTT.masked_fill(is_padded_BT[:, None], _PADDED_LOGIT).softmax(-1) @ value_BTD
        n_items_B1 = is_real_BT.sum(1, keepdim=True).clamp(min=1)
        return item_BTD.masked_fill(is_padded_BT[:, :, None], 0.0).sum(1) / n_items_B1


def padded_sets(sets: Histories, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Item rows (B, T) int64, 0 where padded, and which of them are real, (B, T) bool, on `device`."""
    item_BT = torch.from_numpy(sets.padded(0)).to(device, torch.int64)
    length_B = torch.from_numpy(sets.lengths).to(device)
    return item_BT, torch.arange(item_BT.shape[1], device=device) < length_B[:, None]


def info_nce(first_BD: Tensor, second_BD: Tensor, temperature: float) -> Tensor:
    """Mean over rows of the cross-entropy of finding row i of `second_BD` by row i of `first_BD`, by cosines over `temperature`, a scalar.

    One direction; the other rows of `second_BD` are the negatives, and the positive stands in the denominator.
    """
    # Divided by a temperature of a hundredth, the rounding of half precision would show.
    with torch.autocast(first_BD.device.type, enabled=False):
        logit_BB = unit_rows(first_BD.float()) @ unit_rows(second_BD.float()).T / temperature
        return functional.cross_entropy(logit_BB, torch.arange(len(logit_BB), device=logit_BB.device))


def set_cross_entropy(logit_BN: Tensor, bundle_S: Tensor, item_S: Tensor) -> Tensor:
    """Mean over bundles of the mean over a bundle's targets of their cross-entropy over the whole catalogue, a scalar in float32.

    Args:
        logit_BN: (B, N), minus infinity for items that take no part.
        bundle_S: (S,) int64 rows of `logit_BN`; every bundle needs a target.
        item_S: (S,) int64 target of each of them.
    """
    log_BN = logit_BN.float().log_softmax(-1)
    n_targets_B = torch.bincount(bundle_S, minlength=len(logit_BN))
    return -(log_BN[bundle_S, item_S] / n_targets_B[bundle_S]).sum() / len(logit_BN)
