"""The encoder, and its pre-training: examples in, sum of losses out."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbench.core.ragged import LongArray, Ragged
from recbench.nn.blocks import SequenceEncoder, initialise
from recbench.nn.training import Stretches
from recbench_models.s3rec.config import PretrainSettings
from recbench_models.s3rec.data import hidden_slots, items_outside, segments

# B sequences, T columns, S slots of a task, N items, A attributes, D width, P items of the whole train part


def pair_loss(true_S: Tensor, false_S: Tensor, kind: Literal["sigmoid", "logit"]) -> Tensor:
    """Sum over slots of `-log sigma(a - b)`: of the scores, or of their probabilities, which bounds each term by 0.313 from below."""
    if kind == "sigmoid":
        true_S, false_S = torch.sigmoid(true_S), torch.sigmoid(false_S)
    return -functional.logsigmoid(true_S - false_S).sum()


class PretrainTasks(nn.Module):
    """The four tasks on states of the encoder (arXiv:2008.07873, section 4.2), with weights that fine-tuning does not keep."""

    start_N: Tensor
    count_N: Tensor
    attribute_X: Tensor

    def __init__(self, width: int, attributes: Ragged, n_attributes: int, kind: Literal["sigmoid", "logit"]) -> None:
        """
        Args:
            width: D.
            attributes: distinct attribute numbers of each item.
            n_attributes: A.
            kind: of `pair_loss`.
        """
        super().__init__()
        self._kind: Literal["sigmoid", "logit"] = kind
        self.attribute_embedding = nn.Embedding(n_attributes, width)
        self.of_seen = nn.Linear(width, width)
        self.of_item = nn.Linear(width, width)
        self.of_hidden = nn.Linear(width, width)
        self.of_segment = nn.Linear(width, width)
        initialise(self, "normal")
        self.register_buffer("start_N", torch.from_numpy(attributes.offsets[:-1].copy()), persistent=False)
        self.register_buffer("count_N", torch.from_numpy(attributes.lengths), persistent=False)
        self.register_buffer("attribute_X", torch.from_numpy(attributes.item.astype("int64")), persistent=False)

    def attributes_of_seen(self, state_SD: Tensor, item_S: Tensor) -> Tensor:
        """AAP: sum over slots and attributes of the cross-entropy of what items that are read have and lack."""
        return self._attribute_loss(self.of_seen(state_SD), item_S)

    def attributes_of_hidden(self, state_SD: Tensor, item_S: Tensor) -> Tensor:
        """MAP: the same for items that are hidden."""
        return self._attribute_loss(self.of_hidden(state_SD), item_S)

    def hidden_items(self, state_SD: Tensor, true_SD: Tensor, false_SD: Tensor) -> Tensor:
        """MIP: sum over slots of the pair loss of the hidden item and another one, both as vectors."""
        return self._pair_loss(self.of_item(state_SD), true_SD, false_SD)

    def hidden_segments(self, context_BD: Tensor, own_BD: Tensor, foreign_BD: Tensor) -> Tensor:
        """SP: sum over sequences of the pair loss of the hidden segment and a foreign one, all as states."""
        return self._pair_loss(self.of_segment(context_BD), own_BD, foreign_BD)

    def _pair_loss(self, query_SD: Tensor, true_SD: Tensor, false_SD: Tensor) -> Tensor:
        query_SD = query_SD.float()
        return pair_loss((query_SD * true_SD).sum(1), (query_SD * false_SD).sum(1), self._kind)

    def _attribute_loss(self, query_SD: Tensor, item_S: Tensor) -> Tensor:
        logit_SA = (query_SD @ self.attribute_embedding.weight.T).float()
        # The attributes of all slots end to end, and which slot each belongs to.
        count_S = self.count_N[item_S]
        slot_Y = torch.repeat_interleave(torch.arange(len(item_S), device=item_S.device), count_S)
        nth_Y = torch.arange(len(slot_Y), device=item_S.device) - (count_S.cumsum(0) - count_S)[slot_Y]
        attribute_Y = self.attribute_X[self.start_N[item_S][slot_Y] + nth_Y]
        # softplus(x) - x where the item has the attribute, softplus(x) where it lacks it.
        return functional.softplus(logit_SA).sum() - logit_SA[slot_Y, attribute_Y].sum()


class Pretraining(nn.Module):
    """`module(rows)` gives the weighted sum of the four tasks' losses over examples `rows` and the number of these.

    The source adds its losses up without dividing by anything; the loop's division by the number of examples scales all four alike.
    """

    pool_P: Tensor

    def __init__(self, encoder: SequenceEncoder, tasks: PretrainTasks, settings: PretrainSettings, examples: Stretches) -> None:
        """
        Args:
            encoder: looks both ways while it is trained here.
            tasks: the tasks' own weights.
            settings: what is hidden, and the tasks' weights.
            examples: of the train part, from whose items foreign segments are drawn.
        """
        super().__init__()
        self.encoder, self.tasks = encoder, tasks
        self._settings, self._examples = settings, examples
        self.register_buffer("pool_P", torch.from_numpy(examples.item.astype("int64")), persistent=False)

    def forward(self, rows: LongArray) -> tuple[Tensor, int]:
        settings, losses = self._settings, self.losses(rows)
        weights = {
            "attributes of seen": settings.attribute_weight,
            "hidden items": settings.item_weight,
            "attributes of hidden": settings.hidden_attribute_weight,
            "hidden segments": settings.segment_weight,
        }
        return torch.stack([weights[task] * loss for task, loss in losses.items()]).sum(), len(rows)

    def losses(self, rows: LongArray) -> dict[str, Tensor]:
        """The sum of each task's losses, by its name; examples are read in groups of like length, which saves padding."""
        parts = [self._losses(group) for group in self._examples.of_like_length(rows)]
        return {task: torch.stack([part[task] for part in parts]).sum() for task in parts[0]}

    def _losses(self, rows: LongArray) -> dict[str, Tensor]:
        encoder, tasks, device = self.encoder, self.tasks, self.pool_P.device
        item_BT = torch.from_numpy(self._examples.padded(rows, encoder.n_items)).to(device)
        length_B = torch.from_numpy(self._examples.length[rows]).to(device)
        is_hidden_BT = hidden_slots(length_B, item_BT.shape[1], self._settings.mask_rate)
        is_seen_BT = ~is_hidden_BT & (item_BT < encoder.n_items)
        other_BT = items_outside(item_BT, encoder.n_items)
        # A sequence of one item has no segment beside another one.
        is_long_B = length_B > 1
        cut = segments(item_BT[is_long_B], length_B[is_long_B], self.pool_P, encoder.mask_row)
        masked_BT = item_BT.masked_fill(is_hidden_BT, encoder.mask_row)
        # One pass for all four versions of the sequences.
        versions = [masked_BT, cut.context_BT, cut.own_BT, cut.foreign_BT]
        lengths = torch.cat([length_B, *[length_B[is_long_B]] * 3])
        state_BTD, *of_segments = encoder(torch.cat(versions), lengths).split(list(map(len, versions)))
        newest = torch.arange(len(cut.context_BT), device=device), length_B[is_long_B] - 1
        hidden_SD, hidden_S = state_BTD[is_hidden_BT], item_BT[is_hidden_BT]
        return {
            "attributes of seen": tasks.attributes_of_seen(state_BTD[is_seen_BT], item_BT[is_seen_BT]),
            "hidden items": tasks.hidden_items(hidden_SD, encoder.item_ID[hidden_S], encoder.item_ID[other_BT[is_hidden_BT]]),
            "attributes of hidden": tasks.attributes_of_hidden(hidden_SD, hidden_S),
            "hidden segments": tasks.hidden_segments(*(part_BTD[newest] for part_BTD in of_segments)),
        }
