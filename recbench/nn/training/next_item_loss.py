"""Loss of models that score every item by the inner product of its vector with a state."""

import torch
from torch import Tensor
from torch.nn import functional

from recbench.core import BadRequest, Interactions
from recbench.nn.training.losses import (
    binary_cross_entropy,
    full_cross_entropy,
    generalised_binary_cross_entropy,
    sampled_cross_entropy,
    sampled_softmax,
)
from recbench.nn.training.negatives import UnseenNegatives
from recbench.nn.training.next_item_settings import NextItemLossSettings

# B sequences, S trained slots, I items, D width, K negatives

_LEAST_NORM = 1e-6
"""Shorter vectors are divided by this, so that a zero vector stays zero."""


def logit_vectors(settings: NextItemLossSettings, state_SD: Tensor, item_ID: Tensor) -> tuple[Tensor, Tensor]:
    """States (S, D) and items (I, D) whose inner products are the logits: of training and, so that lists agree with it, of ranking."""
    if settings.normalise:
        state_SD, item_ID = (functional.normalize(part, dim=-1, eps=_LEAST_NORM) for part in (state_SD, item_ID))
    return (state_SD if settings.temperature == 1.0 else state_SD / settings.temperature), item_ID


class NextItemLoss:
    """Sum over slots of the loss that the settings name; negatives come from torch's default generator of the device."""

    def __init__(self, settings: NextItemLossSettings, train: Interactions) -> None:
        """
        Args:
            settings: which loss, how its negatives are drawn.
            train: whose items are no negatives of their user.

        Raises:
            BadRequest: a user has every item, so that there is no negative to draw; or `gbce` over a catalogue of one item.
        """
        if settings.loss == "gbce" and train.n_items < 2:
            raise BadRequest(
                "loss=gbce is calibrated by the share of the other items that it draws, and the catalogue has 1 item. Use --set loss=ce."
            )
        self._settings = settings
        is_sampled = settings.loss != "ce"
        self._unseen = UnseenNegatives(train) if is_sampled and settings.draws_from == "unseen" else None

    def __call__(self, state_SD: Tensor, item_ID: Tensor, target_S: Tensor, sequence_S: Tensor, user_B: Tensor) -> Tensor:
        """A scalar in float32.

        Args:
            state_SD: (S, D) state of each slot.
            item_ID: (I, D) vectors of all items.
            target_S: (S,) int64, the item that follows each slot.
            sequence_S: (S,) int64, in which of the B sequences of the batch the slot stands.
            user_B: (B,) int64, whose sequence each is.
        """
        settings = self._settings
        state_SD, item_ID = logit_vectors(settings, state_SD, item_ID)
        if settings.loss == "ce":
            return full_cross_entropy(state_SD, item_ID, target_S)
        drawn = self._drawn(len(item_ID), sequence_S, user_B)
        if settings.loss == "ssm" and drawn.dim() == 2:
            return sampled_cross_entropy(state_SD, item_ID, target_S, drawn, mask_hits=settings.mask_hits)
        positive_S = (state_SD * item_ID[target_S]).sum(1)
        if drawn.dim() == 1:
            negative_SK = state_SD @ item_ID[drawn].T
        elif settings.loss == "bce":
            negative_SK = (state_SD * item_ID[drawn[:, 0]]).sum(1, keepdim=True)
        else:
            negative_SK = torch.einsum("sd,skd->sk", state_SD, item_ID[drawn])
        if settings.mask_hits:
            negative_SK = negative_SK.masked_fill(drawn == target_S[:, None], -torch.inf)
        if settings.loss == "ssm":
            return sampled_softmax(positive_S, negative_SK)
        if settings.loss == "gbce":
            return generalised_binary_cross_entropy(positive_S, negative_SK, len(item_ID), settings.calibration)
        return binary_cross_entropy(positive_S, negative_SK)

    def _drawn(self, n_items: int, sequence_S: Tensor, user_B: Tensor) -> Tensor:
        """Negatives (S, K) of each slot, or (K,) that all slots share."""
        settings, device = self._settings, user_B.device
        n = 1 if settings.loss == "bce" else settings.n_negatives
        if settings.draws_per == "batch":
            # Without repeats: a second copy of an item would teach nothing that the first does not.
            return torch.randperm(n_items, device=device)[:n]
        is_per_slot = settings.draws_per == "slot"
        user = user_B[sequence_S] if is_per_slot else user_B
        drawn = torch.randint(n_items, (len(user), n), device=device) if self._unseen is None else self._unseen.draw(user, n)
        return drawn if is_per_slot else drawn[sequence_S]
