"""The network in training: nested masks that begin at the digits it is least sure of."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbench.core.ragged import LongArray
from recbench.nn.training import Windows
from recbench_models.diffgrm.config import LossSettings
from recbench_models.diffgrm.network import DiffGRMNetwork

# B examples, T items of the longest history, V views of an example, M digits, K values of a digit, D width


class DiffGRMTraining(nn.Module):
    """`module(rows)` gives the sum of the losses of examples `rows` and their number, as `train` wants it.

    Args:
        network: what is trained.
        windows: one for each example, of which the last slot is trained.
        settings: of masks and averages.
        mixes_lengths: histories of any lengths meet in a batch; they are read in groups of like length, which saves padding.
    """

    def __init__(self, network: DiffGRMNetwork, windows: Windows, settings: LossSettings, *, mixes_lengths: bool) -> None:
        super().__init__()
        self.network = network
        self._windows, self._settings, self._mixes_lengths = windows, settings, mixes_lengths

    def forward(self, rows: LongArray) -> tuple[Tensor, int]:
        groups = self._windows.of_like_length(rows) if self._mixes_lengths else [rows]
        return torch.stack([self._loss(group) for group in groups]).sum(), len(rows)

    def _loss(self, rows: LongArray) -> Tensor:
        """Sum of the losses of examples `rows`, a scalar."""
        network, windows = self.network, self._windows
        device = network.code_NM.device
        item_BT = torch.from_numpy(windows.padded(rows, network.n_items)[0]).to(device)
        length_B = torch.from_numpy(windows.length[rows]).to(device)
        target_B = torch.from_numpy(windows.trained(rows)[0][:, 0]).to(device)
        is_masked_BVM = self._masks(item_BT, length_B)
        value_BVM = network.code_NM[target_B][:, None].expand(-1, is_masked_BVM.shape[1], -1)
        state_BVMD = network.decode(network.encode(item_BT, length_B), value_BVM, is_masked_BVM)
        return self._smoothed(state_BVMD, value_BVM, is_masked_BVM)

    def _masks(self, item_BT: Tensor, length_B: Tensor) -> Tensor:
        """Which digits each view masks, (B, V, M) bool: of the views of an example each masks all that those with fewer masks do."""
        n_digits, n_views, device = self.network.n_digits, self._settings.n_views, item_BT.device
        if self._settings.order == "confidence":
            urgency_BM = self._confidence(item_BT, length_B)
        else:
            urgency_BM = torch.rand(len(item_BT), n_digits, device=device)
        place_BM = urgency_BM.argsort(dim=1, stable=True).argsort(dim=1)
        n_masked_BV = torch.arange(1, n_digits + 1, device=device).expand(len(item_BT), -1)
        if n_views is not None:
            n_masked_BV = torch.rand(n_masked_BV.shape, device=device).argsort(dim=1)[:, :n_views] + 1
        return place_BM[:, None] < n_masked_BV[:, :, None]

    @torch.no_grad()
    def _confidence(self, item_BT: Tensor, length_B: Tensor) -> Tensor:
        """The probability of the likeliest value of each digit where none is shown and nothing is dropped, (B, M)."""
        network = self.network
        was_training = network.training
        network.eval()
        nothing = torch.zeros(len(item_BT), 1, network.n_digits, dtype=torch.int64, device=item_BT.device)
        state_BVMD = network.decode(network.encode(item_BT, length_B), nothing, torch.ones_like(nothing, dtype=torch.bool))
        confidence_BM = network.log_probabilities(state_BVMD[:, 0]).amax(2)
        network.train(was_training)
        # Under autocast older torch keeps the weights cast here, which have no gradient, for the pass that needs one (pytorch#158232).
        torch.clear_autocast_cache()
        return confidence_BM

    def _smoothed(self, state_BVMD: Tensor, value_BVM: Tensor, is_masked_BVM: Tensor) -> Tensor:
        """Sum over examples of the mean cross-entropy of their masked digits with smoothed targets, a scalar in float32."""
        n_masked_BV = is_masked_BVM.sum(2)
        if self._settings.average == "token_mean":
            n_terms_BV = n_masked_BV.sum(1, keepdim=True).expand_as(n_masked_BV)
        else:
            n_terms_BV = n_masked_BV * n_masked_BV.shape[1]
        total = state_BVMD.new_zeros((), dtype=torch.float32)
        for digit in range(self.network.n_digits):
            example, view = torch.nonzero(is_masked_BVM[:, :, digit], as_tuple=True)
            logit_RK = self.network.logits(state_BVMD[example, view, digit], digit).float()
            target_R = value_BVM[example, view, digit]
            loss_R = functional.cross_entropy(logit_RK, target_R, reduction="none", label_smoothing=self._settings.label_smoothing)
            total = total + (loss_R / n_terms_BV[example, view]).sum()
        return total
