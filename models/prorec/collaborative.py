"""Encoders that learn item vectors from sequences, and their next-item losses."""

import torch
from torch import Tensor, nn

from recbench.core import Interactions
from recbench.core.ragged import LongArray
from recbench.nn.blocks import EncoderSettings, SequenceEncoder
from recbench.nn.training import Windows, full_cross_entropy, sampled_softmax
from recbench_models.prorec.config import CollaborativeSettings

# B sequences, T places, C candidates, S places with a target, G windows, N items, D width


class Dice(nn.Module):
    """`p x + (1 - p) a x` with p the sigmoid of the normalised input and `a` learnt for each channel (arXiv:1706.06978, section 5.3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width, affine=False)
        self.share = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """The same shape, (..., width)."""
        p = torch.sigmoid(self.norm(x.flatten(0, -2))).view_as(x)
        return x * (self.share + p * (1 - self.share))


class DIN(nn.Module):
    """Weighs every place of the history by the candidate, adds the places up in windows, and scores (arXiv:1706.06978; windows, sizes and
    loss as in the public code of EAGER, arXiv:2406.14017)."""

    def __init__(self, n_items: int, settings: CollaborativeSettings) -> None:
        super().__init__()
        width, (first, second) = settings.width, settings.din.attention
        self.n_items, self.n_negatives, self.history = n_items, settings.din.negatives, settings.history
        self.item_embedding = nn.Embedding(n_items + 1, width, padding_idx=n_items)
        nn.init.normal_(self.item_embedding.weight, std=1e-4)
        # The first layer of the attention over [t, h, t - h, t * h], as a matrix for each part that differs from pair to pair or not.
        self.of_candidate = nn.Linear(width, first)
        self.of_history = nn.Linear(width, first, bias=False)
        self.of_product = nn.Linear(width, first, bias=False)
        self.attention = nn.Sequential(Dice(first), nn.Linear(first, second), Dice(second), nn.Linear(second, 1))
        hidden = settings.din.network
        self.network = nn.Sequential(
            nn.Linear((len(settings.din.windows) + 1) * width, hidden[0]), Dice(hidden[0]), nn.Dropout(settings.dropout),
            nn.Linear(hidden[0], hidden[1]), Dice(hidden[1]), nn.Dropout(settings.dropout), nn.Linear(hidden[1], 1),
        )  # fmt: skip
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_normal_(layer.weight)
        with torch.no_grad():
            self.item_embedding.weight[n_items].zero_()
        window_T = torch.repeat_interleave(torch.arange(len(settings.din.windows)), torch.tensor(settings.din.windows))
        self.register_buffer("is_in_GT", (window_T == torch.arange(len(settings.din.windows))[:, None]).float(), persistent=False)

    is_in_GT: Tensor

    def windows(self, train: Interactions) -> Windows:
        """A window per prefix."""
        return Windows.prefixes(train, self.history)

    def scores(self, history_BTD: Tensor, is_real_BT: Tensor, candidate_BCD: Tensor) -> Tensor:
        """Scores (B, C); histories stand on the right, `history` places long, and what is not real adds nothing."""
        pair_BCTD = candidate_BCD[:, :, None] * history_BTD[:, None]
        hidden = self.of_candidate(candidate_BCD)[:, :, None] + self.of_history(history_BTD)[:, None] + self.of_product(pair_BCTD)
        weight_BCT = self.attention(hidden).squeeze(-1) * is_real_BT[:, None]
        read_BCGD = torch.einsum("gt,bct,btd->bcgd", self.is_in_GT, weight_BCT, history_BTD)
        scores: Tensor = self.network(torch.cat([read_BCGD.flatten(2), candidate_BCD], -1)).squeeze(-1)
        return scores

    def loss(self, vector_ND: Tensor, item_BT: Tensor, length_B: Tensor, target_BT: Tensor) -> Tensor:
        """Sum over targets of the softmax over the target and negatives, with the correction for how often each is drawn.

        Args:
            vector_ND: (N + 1, D), what is read of each item; the last row is padding.
            item_BT: (B, T) items, oldest first, N after the end.
            length_B: (B,) how many.
            target_BT: (B, T) what follows each place, -1 where that is not trained.
        """
        n_rows, n_columns = item_BT.shape
        # To the right edge of a full history: windows count from there.
        shift_B1 = self.history - length_B[:, None]
        place_BT = torch.arange(self.history, device=item_BT.device) - shift_B1
        is_real_BT = place_BT >= 0
        right_BT = torch.where(is_real_BT, item_BT.gather(1, place_BT.clamp(0, n_columns - 1)), self.n_items)
        target_B = target_BT.max(1).values
        drawn_BC = torch.randint(self.n_items, (n_rows, self.n_negatives), device="cpu").to(item_BT.device)
        candidate_BC = torch.cat([target_B[:, None], drawn_BC], 1)
        score_BC = self.scores(vector_ND[right_BT], is_real_BT, vector_ND[candidate_BC])
        is_target_BC = drawn_BC == target_B[:, None]
        n_valid_B1 = (~is_target_BC).sum(1, keepdim=True)
        log_rate = (n_valid_B1.clamp(min=1) / max(self.n_items - 1, 1)).log()
        negative_BC = score_BC[:, 1:].float().masked_fill(is_target_BC, -torch.inf)
        return sampled_softmax(score_BC[:, 0], negative_BC, log_rate.expand_as(negative_BC))


class Causal(nn.Module):
    """Causal self-attention over the history, and the softmax over all items (SASRec's encoder, arXiv:1808.09781)."""

    def __init__(self, n_items: int, settings: CollaborativeSettings) -> None:
        super().__init__()
        width = settings.width
        sizes = EncoderSettings(
            width=width, n_layers=settings.sasrec.layers, n_heads=settings.sasrec.heads, hidden=4 * width,
            max_length=settings.history, dropout=settings.dropout,
        )  # fmt: skip
        self.encoder = SequenceEncoder(n_items, sizes, activation="gelu", init="normal")
        self.n_items, self.history = n_items, settings.history

    @property
    def item_embedding(self) -> nn.Embedding:
        """The items' vectors."""
        return self.encoder.item_embedding

    def windows(self, train: Interactions) -> Windows:
        """Overlapping stretches of users."""
        return Windows.of(train, self.history)

    def states(self, vector_ND: Tensor, item_BT: Tensor, length_B: Tensor) -> Tensor:
        """The state of every place, (B, T, D)."""
        return self.encoder.states_of(vector_ND[item_BT], length_B)

    def loss(self, vector_ND: Tensor, item_BT: Tensor, length_B: Tensor, target_BT: Tensor) -> Tensor:
        """Sum over targets of the softmax over the catalogue; arguments as for `DIN.loss`."""
        is_target_BT = target_BT >= 0
        state_SD = self.states(vector_ND, item_BT, length_B)[is_target_BT]
        return full_cross_entropy(state_SD, vector_ND[: self.n_items], target_BT[is_target_BT])


def collaborative_encoder(n_items: int, settings: CollaborativeSettings) -> DIN | Causal:
    """The untrained encoder that the settings name, made with torch's default generator."""
    return DIN(n_items, settings) if settings.encoder == "din" else Causal(n_items, settings)


def sequences_as_tensors(windows: Windows, rows: LongArray, n_items: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Items (B, T), lengths (B,) and targets (B, T) of windows `rows`."""
    item_BT, target_BT = (torch.from_numpy(part).to(device) for part in windows.padded(rows, n_items))
    return item_BT, torch.from_numpy(windows.length[rows]).to(device), target_BT
