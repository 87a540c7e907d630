"""Changed copies of items and bundles, for the contrastive losses. All draws come from torch's default generator of the tensors' device."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbench.nn.blocks import ModalityFusion
from recbench_models.clhe.config import BundleViewSettings, ItemViewSettings

# B bundles, T columns, X added columns, J items, M modalities, N items of the catalogue, D width


class Bundles(NamedTuple):
    """Sets of item rows, padded.

    Attributes:
        item_BT: (B, T) int64, any row where padded.
        is_real_BT: (B, T) bool.
    """

    item_BT: Tensor
    is_real_BT: Tensor

    @property
    def n_items_B(self) -> Tensor:  # noqa: N802
        """Items of each bundle, (B,) int64."""
        return self.is_real_BT.sum(1)

    def shuffled(self) -> "Bundles":
        """The items of each bundle in a random order, before its padding."""
        draw_BT = torch.rand(self.item_BT.shape, device=self.item_BT.device).masked_fill(~self.is_real_BT, torch.inf)
        order_BT = draw_BT.argsort(dim=1, stable=True)
        return Bundles(self.item_BT.gather(1, order_BT), self.is_real_BT.gather(1, order_BT))

    def first(self, n_B: Tensor) -> "Bundles":
        """The first items of each bundle, (B,) many."""
        return Bundles(self.item_BT, self.is_real_BT & (torch.arange(self.item_BT.shape[1], device=n_B.device) < n_B[:, None]))


def n_kept(n_items_B: Tensor, share: float) -> Tensor:
    """How many of so many items a copy keeps, (B,) int64: one fewer than all at most, and one at least.

    Halves are rounded to the even number. In the source a bundle of few items may keep none.
    """
    rounded_B = (n_items_B.double() * share + 0.5).round().long()
    return torch.minimum(rounded_B, n_items_B - 1).clamp(min=1)


def bundle_view(bundles: Bundles, settings: BundleViewSettings, n_items: int) -> Bundles:
    """A changed copy of each bundle.

    Args:
        bundles: of at least one item each.
        settings: what is changed.
        n_items: N, of which random items are drawn, those of the bundle left out.
    """
    if settings.kept == 1.0:
        return bundles
    if settings.kept > 1.0:
        n_added = round((settings.kept - 1.0) * bundles.is_real_BT.shape[1])
        return _with_others(bundles, bundles, torch.full_like(bundles.n_items_B, n_added), n_items)
    n_kept_B = n_kept(bundles.n_items_B, settings.kept)
    shuffled = bundles.shuffled()
    kept = shuffled.first(n_kept_B)
    if settings.ref_mask_bug:
        return Bundles(kept.item_BT.masked_fill(~kept.is_real_BT, 0), shuffled.is_real_BT)
    if settings.kind == "dropout":
        return kept
    return _with_others(kept, bundles, bundles.n_items_B - n_kept_B, n_items)


def _with_others(some: Bundles, bundles: Bundles, n_B: Tensor, n_items: int) -> Bundles:
    """The items of `some` and so many random ones that are not in `bundles`, distinct; all there are where these are fewer."""
    draw_BN = torch.rand(len(n_B), n_items, device=n_B.device)
    is_in_BN = torch.zeros(len(n_B), n_items + 1, dtype=torch.bool, device=n_B.device)
    # Padding is written to a column of its own.
    is_in_BN.scatter_(1, bundles.item_BT.masked_fill(~bundles.is_real_BT, n_items), True)
    best_BX = draw_BN.masked_fill(is_in_BN[:, :n_items], -1.0).topk(min(int(n_B.max()), n_items), dim=1)
    others = Bundles(best_BX.indices, best_BX.values >= 0).first(n_B)
    return Bundles(torch.cat([some.item_BT, others.item_BT], 1), torch.cat([some.is_real_BT, others.is_real_BT], 1))


def item_views(
    modality_JMD: Tensor, fusion: ModalityFusion, settings: ItemViewSettings, projection: nn.Module | None
) -> tuple[Tensor, Tensor]:
    """Two vectors of each item, (J, D) both, from vectors of its modalities."""
    if settings.kind == "modality-dropout":
        first, second = (fusion(_without_some(modality_JMD, settings.rate)) for _ in range(2))
        return first, second
    fused_JD = fusion(modality_JMD)
    if settings.kind == "none":
        return fused_JD, fused_JD
    if settings.kind == "feature-dropout":
        first, second = (functional.dropout(fused_JD, settings.rate) for _ in range(2))
    else:
        first, second = (fused_JD + settings.noise * torch.randn_like(fused_JD) for _ in range(2))
    return (first, second) if projection is None else (projection(first), projection(second))


def _without_some(modality_JMD: Tensor, rate: float) -> Tensor:
    """Each vector zero with probability `rate`; what stays keeps its length."""
    is_dropped_JM = torch.rand(modality_JMD.shape[:2], device=modality_JMD.device) < rate
    return modality_JMD.masked_fill(is_dropped_JM[:, :, None], 0.0)
