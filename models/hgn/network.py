"""The network, and its losses in training."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbench.core import Interactions
from recbench.core.ragged import LongArray
from recbench.nn.training import UnseenNegatives, Windows, full_cross_entropy
from recbench_models.hgn.config import HGNConfig, NetworkSettings

# B histories, T columns, L slots, N items, U users, D width, E width of a state: D numbers and a 1, which multiplies the items' biases,
# K negatives


class HGNEncoder(nn.Module):
    """User vectors, two tables of item vectors, and the gates between them.

    Slots are counted from the newest item, which stands in slot L - 1. Tables start normal with standard deviation 1/D, gates Xavier
    uniform, biases at 0, all drawn with torch's default generator.

    Args:
        settings: sizes.
        n_items: rows 0..n_items-1 are items; row n_items of the input table is the padding, zero for ever.
        n_users: rows of the user table.
    """

    def __init__(self, settings: NetworkSettings, n_items: int, n_users: int) -> None:
        super().__init__()
        width = settings.width
        self.n_items, self.max_length = n_items, settings.max_length
        self.user = nn.Embedding(n_users, width)
        self.input = nn.Embedding(n_items + 1, width, padding_idx=n_items)
        self.output = nn.Embedding(n_items, width)
        self.output_bias = nn.Parameter(torch.zeros(n_items))
        self.feature_of_item = nn.Linear(width, width)
        self.feature_of_user = nn.Linear(width, width, bias=False)
        self.instance_of_item = nn.Linear(width, 1, bias=False)
        self.instance_of_user = nn.Linear(width, settings.max_length, bias=False)
        for table in (self.user.weight, self.input.weight, self.output.weight):
            nn.init.normal_(table, std=1 / width)
        for gate in (self.feature_of_item, self.feature_of_user, self.instance_of_item, self.instance_of_user):
            nn.init.xavier_uniform_(gate.weight)
        nn.init.zeros_(self.feature_of_item.bias)
        with torch.no_grad():
            self.input.weight[n_items].zero_()

    @property
    def item_ID(self) -> Tensor:  # noqa: N802
        """Output vectors of the items, with their biases as the last column, (N, E)."""
        return torch.cat([self.output.weight, self.output_bias[:, None]], 1)

    def users(self, user_B: Tensor) -> Tensor:
        """User vectors (B, D) of rows (B,) int64; for -1, an unknown user, the mean of all user vectors."""
        known_BD = self.user(user_B.clamp(min=0))
        return torch.where(user_B[:, None] >= 0, known_BD, self.user.weight.mean(0))

    def forward(self, item_BT: Tensor, length_B: Tensor, user_BD: Tensor) -> Tensor:
        """The state of each history, (B, E).

        Args:
            item_BT: (B, T) int64 item rows, oldest first, `n_items` after the end.
            length_B: (B,) int64, how many items each history has, at most `max_length`.
            user_BD: (B, D) user vectors, as `users` gives them.
        """
        item_BTD = self.input(item_BT)
        column_T = torch.arange(item_BT.shape[1], device=item_BT.device)
        is_there_BT = column_T < length_B[:, None]
        slot_BT = (self.max_length - length_B[:, None] + column_T).clamp(max=self.max_length - 1)
        gate_BTD = torch.sigmoid(self.feature_of_item(item_BTD) + self.feature_of_user(user_BD)[:, None])
        gated_BTD = item_BTD * gate_BTD
        logit_BT = self.instance_of_item(gated_BTD).squeeze(2) + self.instance_of_user(user_BD).gather(1, slot_BT)
        # a / sum(a) with a = sigmoid(logit), in a form that stays a number where all of them vanish.
        weight_BT = functional.logsigmoid(logit_BT).masked_fill(~is_there_BT, -torch.inf).softmax(1)
        return with_one(user_BD + (weight_BT[..., None] * gated_BTD).sum(1) + item_BTD.sum(1))

    def last_states(self, item_BT: Tensor, length_B: Tensor) -> Tensor:
        """The states (B, E) of these histories as those of unknown users; lengths must be at least 1."""
        stranger_B = torch.full_like(length_B, -1)
        state_BE: Tensor = self(item_BT, length_B, self.users(stranger_B))
        return state_BE


def with_one(vector_BD: Tensor) -> Tensor:
    """Vectors (B, D) with a last number 1, (B, E)."""
    return functional.pad(vector_BD, (0, 1), value=1.0)


class HGNTraining(nn.Module):
    """`module(rows)` gives the sum of the losses of prefixes `rows` and the number of their targets, one each.

    Raises:
        BadRequest: `bpr`, and a user has every item.
    """

    def __init__(self, encoder: HGNEncoder, config: HGNConfig, train: Interactions, prefixes: Windows) -> None:
        super().__init__()
        self.encoder = encoder
        self._prefixes, self._n_negatives = prefixes, config.n_negatives
        self._negatives = UnseenNegatives(train) if config.loss == "bpr" else None

    def forward(self, rows: LongArray) -> tuple[Tensor, int]:
        encoder, prefixes = self.encoder, self._prefixes
        device = encoder.user.weight.device
        item_BT, _ = prefixes.padded(rows, encoder.n_items)
        target_B1, _ = prefixes.trained(rows)
        user_B = torch.from_numpy(prefixes.user[rows]).to(device)
        length_B = torch.from_numpy(prefixes.length[rows]).to(device)
        state_BE = encoder(torch.from_numpy(item_BT).to(device), length_B, encoder.users(user_B))
        return self._loss(state_BE, torch.from_numpy(target_B1[:, 0]).to(device), user_B), len(rows)

    def _loss(self, state_BE: Tensor, target_B: Tensor, user_B: Tensor) -> Tensor:
        item_IE = self.encoder.item_ID
        if self._negatives is None:
            return full_cross_entropy(state_BE, item_IE, target_B)
        drawn_BK = self._negatives.draw(user_B, self._n_negatives)
        positive_B = (state_BE * item_IE[target_B]).sum(1)
        negative_BK = torch.einsum("be,bke->bk", state_BE, item_IE[drawn_BK])
        return -functional.logsigmoid(positive_B[:, None] - negative_BK).sum()
