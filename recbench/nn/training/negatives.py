"""Uniform negatives outside what a user has in the train part."""

import numpy as np
import torch
from torch import Tensor

from recbench.core import BadRequest, Interactions

# U users, B rows, K negatives


class UnseenNegatives:
    """Draws items that a user does not have, without trial and error.

    With a user's distinct items sorted, s_0 < s_1 < ..., the r-th item that is not among them is r + c, where c counts the j with
    s_j - j <= r. So a uniform r below (number of items - number of the user's items) gives a uniform negative.
    """

    def __init__(self, train: Interactions) -> None:
        pairs = np.unique(train.row_of_entry() * train.n_items + train.item)
        user, item = np.divmod(pairs, train.n_items)
        count_U = np.bincount(user, minlength=train.n_users)
        if (count_U >= train.n_items).any():
            raise BadRequest(
                f"User row {int(count_U.argmax())} has all {train.n_items} items in the train part, so there is no negative to draw. "
                "Use --set loss=ce where the model has that setting, else a model that draws no negatives."
            )
        first_U = np.cumsum(count_U) - count_U
        gap = item - (np.arange(len(item)) - first_U[user])
        self._n_items = train.n_items
        self._key = torch.from_numpy(user * train.n_items + gap)
        self._first_U = torch.from_numpy(first_U)
        self._n_free_U = torch.from_numpy(train.n_items - count_U)

    def draw(self, user_B: Tensor, n: int) -> Tensor:
        """(B, n) int64 items, drawn with torch's default generator of the users' device."""
        self._key, self._first_U, self._n_free_U = (part.to(user_B.device) for part in (self._key, self._first_U, self._n_free_U))
        share_BK = torch.rand(len(user_B), n, dtype=torch.float64, device=user_B.device)
        nth_BK = (share_BK * self._n_free_U[user_B, None]).long()
        n_passed_BK = torch.searchsorted(self._key, user_B[:, None] * self._n_items + nth_BK, right=True) - self._first_U[user_B, None]
        return nth_BK + n_passed_BK
