"""The network in training: the main loss over the catalogue, the contrast of items and that of bundles."""

import torch
from torch import Tensor, nn

from recbench.core import Interactions, Queries, Rankings
from recbench.core.ragged import LongArray
from recbench.nn.blocks import info_nce, padded_sets, set_cross_entropy
from recbench_models.clhe.config import CLHEConfig
from recbench_models.clhe.network import CLHENetwork
from recbench_models.clhe.views import Bundles, bundle_view, item_views, n_kept

# B bundles, T columns, S (bundle, target) pairs, J items of the batch, U items of the batch and of its copies, N items, D width


class CLHETraining(nn.Module):
    """Trains the network on bundles of the train part; ranks with its present weights.

    Args:
        network: is trained in place.
        config: settings of the losses.
        train: whose rows are bundles.
    """

    def __init__(self, network: CLHENetwork, config: CLHEConfig, train: Interactions) -> None:
        super().__init__()
        self.network, self.config = network, config
        self.sets, self.n_items = train.histories(), train.n_items

    def forward(self, rows: LongArray) -> tuple[Tensor, int]:
        """The loss of bundles `rows` times their number, and that number."""
        network, config = self.network, self.config
        device = network.facts.is_cold_N.device
        whole = Bundles(*padded_sets(self.sets.take(rows), device))
        read = self._cropped(whole)
        given, target = (read, whole) if config.target == "full" else _parted(read, config.bundle_views.kept)
        copies = bundle_view(read, config.bundle_views, self.n_items) if config.bundle_views.weight else None

        # The vectors that all losses need are made once, of the items that stand in the batch alone.
        used = [part.item_BT[part.is_real_BT] for part in (read, copies) if part is not None]
        item_U = torch.unique(torch.cat(used))
        modality_UMD = network.items.modalities(network.facts, item_U)
        fused_UD = network.items.fusion(modality_UMD)

        def encoded(bundles: Bundles) -> Tensor:
            # What is padded may be an item that does not stand in the batch.
            place_BT = torch.searchsorted(item_U, bundles.item_BT.contiguous()).clamp(max=len(item_U) - 1)
            vector_BD: Tensor = network.attention(fused_UD[place_BT], bundles.is_real_BT)
            return vector_BD

        bundle_BD = encoded(given)
        loss = self._main_loss(bundle_BD, target)
        if config.item_views.weight:
            place_J = torch.searchsorted(item_U, torch.unique(used[0]))
            views = item_views(modality_UMD[place_J], network.items.fusion, config.item_views, network.projection)
            loss = loss + config.item_views.weight * info_nce(*views, config.item_views.temperature)
        if copies is not None:
            # The only part of a bundle of one item is the bundle.
            is_larger_B = read.n_items_B > 1
            if is_larger_B.any():
                contrast = info_nce(bundle_BD[is_larger_B], encoded(copies)[is_larger_B], config.bundle_views.temperature)
                loss = loss + config.bundle_views.weight * contrast
        return loss * len(rows), len(rows)

    def generate(self, queries: Queries, k: int) -> Rankings:
        """The lists of the network as it is now."""
        return self.network.ranker().generate(queries, k)

    def _cropped(self, bundles: Bundles) -> Bundles:
        """Random items of the bundles that are too large."""
        limit = self.config.network.max_items
        if bundles.item_BT.shape[1] <= limit:
            return bundles
        shuffled = bundles.shuffled()
        return Bundles(shuffled.item_BT[:, :limit], shuffled.is_real_BT[:, :limit])

    def _main_loss(self, bundle_BD: Tensor, target: Bundles) -> Tensor:
        network = self.network
        candidate_ND = network.candidates(network.facts, network.every_item_N)
        # Half precision would round a logit, which lies between -8 and 8, by a hundredth.
        with torch.autocast(bundle_BD.device.type, enabled=False):
            logit_BN = bundle_BD.float() @ candidate_ND.float().T
        if not self.config.cold_negatives:
            logit_BN = logit_BN.masked_fill(network.facts.is_cold_N, -torch.inf)
        bundle_S, column_S = target.is_real_BT.nonzero(as_tuple=True)
        return set_cross_entropy(logit_BN, bundle_S, target.item_BT[bundle_S, column_S])


def _parted(bundles: Bundles, share: float) -> tuple[Bundles, Bundles]:
    """A random part of each bundle, and the others of its items; a bundle of one item is both."""
    shuffled = bundles.shuffled()
    given = shuffled.first(n_kept(shuffled.n_items_B, share))
    is_single_B1 = shuffled.n_items_B[:, None] == 1
    return given, Bundles(shuffled.item_BT, shuffled.is_real_BT & (~given.is_real_BT | is_single_B1))
