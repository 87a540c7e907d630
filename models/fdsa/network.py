"""The network: the attributes of an item as one vector, two streams of blocks, and what joins them."""

import torch
from torch import Tensor, nn

from recbench.core.ragged import Histories
from recbench.nn.blocks import BlockStack, initialise, post_norm_encoder
from recbench.nn.compute import Dropout, Linear
from recbench.nn.text import ItemAttributes
from recbench_models.fdsa.config import NetworkSettings

# B histories, T columns, N items, R rows (N items and the padding), U rows without repeats, F fields, A attributes of an item in a field at
# most, D width, X width of texts


class AttributeMix(nn.Module):
    """One vector per item: in each of its fields the mean of its attributes' vectors, and of these a weighted mean.

    A small network scores each field, and the weights are the softmax of the scores. Fields in which an item has nothing are left out; an
    item without any, and the padding, have the zero vector.

    Args:
        attributes: of N items.
        width: D.
        text_NX: vectors of the items' texts, one more field; zeros where an item has no text. None: no such field.
    """

    number_RFA: Tensor
    text_RX: Tensor

    def __init__(self, attributes: ItemAttributes, width: int, text_NX: Tensor | None = None) -> None:
        super().__init__()
        n_items, n_values = len(attributes), len(attributes.values)
        self.has_text = text_NX is not None
        self.table = nn.Embedding(n_values + 1, width, padding_idx=n_values)
        self.score = nn.Sequential(Linear(width, width), nn.ReLU(), Linear(width, 1))
        most = max(int(part.lengths.max(initial=0)) for part in attributes.lists)
        number_RFA = torch.full((n_items + 1, len(attributes.fields), most), n_values, dtype=torch.int32)
        for field, part in enumerate(attributes.lists):
            number_NA = torch.from_numpy(Histories(part.item, part.offsets).padded(n_values))
            number_RFA[:n_items, field, : number_NA.shape[1]] = number_NA
        # What the data say is no weight: it lies beside them in files of its own.
        self.register_buffer("number_RFA", number_RFA, persistent=False)
        if text_NX is not None:
            self.project_text = Linear(text_NX.shape[1], width, bias=False)
            self.register_buffer("text_RX", nn.functional.pad(text_NX, (0, 0, 0, 1)), persistent=False)

    def forward(self, item_BT: Tensor) -> Tensor:
        """The vectors of items, (B, T, D); rows N are the padding."""
        item_U, place_BT = torch.unique(item_BT, return_inverse=True)
        field_UFD, is_there_UF = self.fields(item_U)
        mixed_UD = (self.weights(field_UFD, is_there_UF)[..., None] * field_UFD).sum(1)
        return mixed_UD[place_BT]

    def fields(self, item_U: Tensor) -> tuple[Tensor, Tensor]:
        """A vector for each field of items, (U, F, D), zero where the item has nothing, and whether it has something, (U, F)."""
        number_UFA = self.number_RFA[item_U].long()
        is_there_UFA = number_UFA < self.table.num_embeddings - 1
        count_UF = is_there_UFA.sum(2)
        field_UFD = self.table(number_UFA).sum(2) / count_UF.clamp(min=1)[..., None]
        is_there_UF = count_UF > 0
        if not self.has_text:
            return field_UFD, is_there_UF
        text_UX = self.text_RX[item_U]
        field_UFD = torch.cat([field_UFD, self.project_text(text_UX)[:, None]], 1)
        return field_UFD, torch.cat([is_there_UF, (text_UX != 0).any(1, keepdim=True)], 1)

    def weights(self, field_UFD: Tensor, is_there_UF: Tensor) -> Tensor:
        """The share of each field in its item's vector, (U, F), which sum to 1."""
        logit_UF = self.score(field_UFD).squeeze(2)
        # The smallest number rather than -inf, which would make NaN of an item without any field.
        shares: Tensor = logit_UF.masked_fill(~is_there_UF, torch.finfo(logit_UF.dtype).min).softmax(1)
        return shares


class FDSAEncoder(nn.Module):
    """Two causal streams over the same slots, one of items and one of their attributes, with common positions and a common norm.

    Matrices and tables start normal with standard deviation 0.02, biases at 0, all drawn with torch's default generator.

    Args:
        settings: sizes and dropout.
        attributes: of N items.
        text_NX: see `AttributeMix`.
    """

    def __init__(self, settings: NetworkSettings, attributes: ItemAttributes, text_NX: Tensor | None = None) -> None:
        super().__init__()
        n_items, width = len(attributes), settings.width
        self.n_items, self.max_length = n_items, settings.max_length
        self.items = post_norm_encoder(n_items, settings)
        self.mix = AttributeMix(attributes, width, text_NX)
        self.attribute_blocks = BlockStack(settings.n_layers, self.items.block_settings)
        self.join = Linear(2 * width, width)
        self.dropout = Dropout(settings.dropout)
        initialise(self, "normal")
        with torch.no_grad():
            for table in (self.items.item_embedding, self.mix.table):
                table.weight[-1].zero_()

    @property
    def item_ID(self) -> Tensor:  # noqa: N802
        """Vectors of the items, (N, D): what states are multiplied with."""
        return self.items.item_ID

    def forward(self, item_BT: Tensor, length_B: Tensor) -> Tensor:
        """The state of every slot, (B, T, D); meaningless where a history has ended.

        Args:
            item_BT: (B, T) int64 item rows, oldest first, `n_items` after the end.
            length_B: (B,) how many items each history has, at most `max_length`.
        """
        both_BTd = torch.cat([self.items(item_BT, length_B), self.attribute_states(item_BT, length_B)], 2)
        joined_BTD: Tensor = self.dropout(self.items.embedding_norm(self.join(both_BTd)))
        return joined_BTD

    def attribute_states(self, item_BT: Tensor, length_B: Tensor) -> Tensor:
        """The state of every slot in the stream of attributes, (B, T, D)."""
        states: Tensor = self.attribute_blocks(self.items.embedded(self.mix(item_BT), length_B), length_B)
        return states

    def last_states(self, item_BT: Tensor, length_B: Tensor) -> Tensor:
        """The state of each history's newest item, (B, D); lengths must be at least 1."""
        state_BTD: Tensor = self(item_BT, length_B)
        return state_BTD[torch.arange(len(item_BT), device=item_BT.device), length_B - 1]
