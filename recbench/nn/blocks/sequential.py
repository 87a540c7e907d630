"""Self-attention over sequences of items.

Batches are padded on the right. Positions are those of a window whose newest item always stands in the last slot, so they follow from the
lengths, not from the column.
"""

import torch
from torch import Tensor, nn

from recbench.nn.blocks.attention_blocks import Activation, BlockSettings, BlockStack, Init, Norm, initialise
from recbench.nn.blocks.encoder_settings import EncoderSettings
from recbench.nn.compute.dropout import Dropout

# B sequences, T columns (slots of the longest sequence of the batch), D width, N items


class SequenceEncoder(nn.Module):
    """Item and position embeddings, blocks, and the state of every slot.

    Attributes:
        n_items: N; rows 0..N-1 of `item_embedding` are items, row N is the padding, row N + 1 is MASK where there is one.
        max_length: longest sequence; the newest item stands in slot `max_length - 1`.
        block_settings: sizes and kind of its blocks.
        causal: whether each slot sees itself and the slots before it only; False: every real slot. May be changed between two calls.
    """

    def __init__(
        self,
        n_items: int,
        sizes: EncoderSettings,
        *,
        norm: Norm = "pre",
        activation: Activation = "relu",
        init: Init = "xavier",
        embedding_scale: float = 1.0,
        embedding_norm: bool = False,
        inner_dropout: bool = True,
        attention_output: bool | None = None,
        last_norm: bool | None = None,
        layer_norm_eps: float = 1e-8,
        causal: bool = True,
        has_mask: bool = False,
    ) -> None:
        """
        Args:
            n_items: N; the padding row N stays zero for ever.
            sizes: D and the rest; settings that inherit them may hold more, which is not read.
            norm, activation, init: see the types.
            embedding_scale: item embeddings are multiplied by it before positions are added.
            embedding_norm: normalise the sum of item and position before its dropout.
            inner_dropout, attention_output: see `BlockSettings`.
            last_norm: normalise after the last block; None: in the orders that leave states unnormalised by their source, `pre` and
                `original`.
            layer_norm_eps: added to the variance in all layer normalisations.
            causal: see the attribute.
            has_mask: add one learnt row, MASK, for slots whose item is hidden. It is never scored.
        """
        super().__init__()
        width = sizes.width
        self.n_items, self.max_length, self.embedding_scale, self.causal = n_items, sizes.max_length, embedding_scale, causal
        self._has_mask = has_mask
        self.item_embedding = nn.Embedding(n_items + 1 + has_mask, width, padding_idx=n_items)
        self.position_embedding = nn.Embedding(sizes.max_length, width)
        self.embedding_norm = nn.LayerNorm(width, layer_norm_eps) if embedding_norm else nn.Identity()
        self.dropout = Dropout(sizes.dropout)
        self.block_settings = BlockSettings(
            width, sizes.n_heads, sizes.hidden or width, sizes.dropout, norm, activation, inner_dropout, attention_output, layer_norm_eps
        )
        self.blocks = BlockStack(sizes.n_layers, self.block_settings)
        has_last = norm in ("pre", "original") if last_norm is None else last_norm
        self.last_norm = nn.LayerNorm(width, layer_norm_eps) if has_last else nn.Identity()
        initialise(self, init)
        with torch.no_grad():
            self.item_embedding.weight[n_items].zero_()

    @property
    def item_ID(self) -> Tensor:  # noqa: N802
        """Vectors of the items without padding and MASK, (N, D): what states are multiplied with."""
        return self.item_embedding.weight[: self.n_items]

    @property
    def mask_row(self) -> int:
        """The row of MASK; `ValueError` where the encoder has none."""
        if not self._has_mask:
            raise ValueError("The encoder has no MASK row. Build it with has_mask=True.")
        return self.n_items + 1

    def forward(self, item_BT: Tensor, length_B: Tensor) -> Tensor:
        """The state of every slot, (B, T, D); meaningless where a sequence has ended.

        Args:
            item_BT: (B, T) int64 rows of `item_embedding`, oldest first, `n_items` after the end.
            length_B: (B,) how many items each sequence has, at most `max_length`.
        """
        return self.states_of(self.item_embedding(item_BT), length_B)

    def states_of(self, vector_BTD: Tensor, length_B: Tensor) -> Tensor:
        """The same from the vectors in the slots, whatever they are."""
        x_BTD = self.blocks(self.embedded(vector_BTD, length_B), length_B, causal=self.causal)
        states: Tensor = self.last_norm(x_BTD)
        return states

    def embedded(self, vector_BTD: Tensor, length_B: Tensor) -> Tensor:
        """What the first block reads, (B, T, D): vectors with their positions, after norm and dropout."""
        n_columns = vector_BTD.shape[1]
        slot_BT = (self.max_length - length_B)[:, None] + torch.arange(n_columns, device=vector_BTD.device)
        position_BTD = self.position_embedding(slot_BT.clamp(max=self.max_length - 1))
        x_BTD: Tensor = self.dropout(self.embedding_norm(vector_BTD * self.embedding_scale + position_BTD))
        return x_BTD

    def last_states(self, item_BT: Tensor, length_B: Tensor) -> Tensor:
        """The state of each sequence's newest item, (B, D); lengths must be at least 1."""
        state_BTD: Tensor = self(item_BT, length_B)
        return state_BTD[torch.arange(len(item_BT), device=item_BT.device), length_B - 1]


def post_norm_encoder(n_items: int, settings: EncoderSettings, *, causal: bool = True, has_mask: bool = False) -> SequenceEncoder:
    """The encoder with blocks as in BERT (arXiv:1810.04805), initialised with torch's default generator.

    The sum of item and position is normalised, blocks are `post` with GELU and no dropout between the layers of their networks, matrices
    start with standard deviation 0.02.
    """
    return SequenceEncoder(
        n_items,
        settings,
        norm="post",
        activation="gelu",
        init="normal",
        embedding_norm=True,
        inner_dropout=False,
        layer_norm_eps=1e-12,
        causal=causal,
        has_mask=has_mask,
    )
