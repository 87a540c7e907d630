"""The network: a T5 of the transformers library over code tokens, walked so that all prefixes of a user share one pass.

The library's classes hold the parameters and say what a layer is; only the order of the calls is ours. Without packing and without
dropout the numbers are those of the library's own forward pass (a test compares them).
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recbench.nn.blocks.seq2seq.settings import Seq2SeqSettings
from recbench.nn.blocks.t5_attention import attend
from recbench.nn.blocks.t5_blocks import feed_forward, new_t5, replace_dropout, self_attention
from recbench.nn.blocks.t5_fused import normed_linear, plus_dropped_linear
from recbench.nn.codes.catalogue import FIRST_TOKEN
from recbench.nn.compute.dropout import Dropout
from recbench.nn.compute.projection import linear, replace_linear
from recbench.nn.training.losses import full_cross_entropy

# B rows, T items of a history, C targets of a row, L tokens of a code, M tokens of a memory, D width, H heads, N queries, K keys

PAD, START = 0, 1
EMPTY = START
"""Token that the encoder reads where there is no history; elsewhere it never reads it."""
PADDED_SLOT, EMPTY_HISTORY = -1, -2
"""Item number for slots past the end of a history, and for the first slot where there is no history."""
NEVER_SEEN = 2**31
"""Slot of tokens that pad a memory: newer than any that a target may see."""
SUMMARY = 2
"""A token that no code has. A model may let the decoder read it behind a code and take the state there for what it likes."""
FIRST_CODE = FIRST_TOKEN


class Memory(NamedTuple):
    """What the encoder has read of the histories of a batch."""

    state_BMD: Tensor
    """States of the tokens, those of padding among them."""
    slot_BM: Tensor
    """See `CodeSeq2Seq.memory_tokens`."""

    def is_seen(self, slot_BC: Tensor) -> Tensor:
        """Whether a target that may see the slots up to `slot_BC` may read a token, (B, C, M) bool."""
        return self.slot_BM[:, None] <= slot_BC[:, :, None]


class CodeSeq2Seq(nn.Module):
    """Reads the codes of a history and writes the code of the next item.

    Args:
        settings: sizes.
        token_IL: (n_items, L) int64, the tokens of every item's code, from `FIRST_CODE` on; `PAD` behind the end of the shorter ones.
        n_code_tokens: how many code tokens there are over all levels.

    The codes of a history are read one after the other. Where they are of unequal length, each is written with an end token, so that a code
    competes with those it is a prefix of; it stands behind the code tokens. User tokens stand behind all of them. Head and input share one
    table over the whole vocabulary.
    """

    item_tokens: Tensor
    """(n_items + 2, L): the codes, then what an empty history and a padded slot read."""
    written_tokens: Tensor
    """(n_items + 2, L, or L + 1 with end tokens): the same as the decoder writes them."""

    def __init__(self, settings: Seq2SeqSettings, token_IL: Tensor, n_code_tokens: int) -> None:
        super().__init__()
        self.settings = settings
        has_gaps = bool((token_IL == PAD).any())
        end = FIRST_CODE + n_code_tokens if has_gaps else None
        self.end = end
        """Token that ends a code, where codes are of unequal length."""
        self.first_user_token = FIRST_CODE + n_code_tokens + has_gaps
        self.t5 = new_t5(settings, self.first_user_token + settings.user_tokens, pad=PAD, start=START, end=end)
        replace_dropout(self.t5)
        replace_linear(self.t5)
        self.dropout = Dropout(settings.dropout)
        self.attention_dropout = Dropout(settings.attention_dropout)
        # Two more rows: for padded slots of histories, and for the one slot of an empty history, so that there is something to attend to.
        more = torch.tensor([[EMPTY], [PAD]]).expand(-1, token_IL.shape[1])
        # Codes are not learnt: they stand beside the weights, not among them.
        self.register_buffer("item_tokens", torch.cat([token_IL.long(), more]), persistent=False)
        self.register_buffer("written_tokens", self.item_tokens if end is None else _ended(self.item_tokens, end), persistent=False)
        if settings.item_places:
            self.places = nn.Embedding(settings.max_history + 1, settings.width)
            # A network without them is where training begins.
            nn.init.zeros_(self.places.weight)

    @property
    def code_length(self) -> int:
        """Tokens of a code."""
        return self.item_tokens.shape[1]

    @property
    def n_front(self) -> int:
        """Tokens of a memory that stand before the first item's."""
        return 1 if self.settings.user_tokens else 0

    def compile_parts(self, backend: str = "inductor") -> None:
        """Compile encoder and decoder. The loss between them stays as it is: which targets there are changes from batch to batch."""
        self.encode = torch.compile(self.encode, dynamic=True, backend=backend)  # type: ignore[method-assign]
        self.decode = torch.compile(self.decode, dynamic=True, backend=backend)  # type: ignore[method-assign]

    def encode(self, item_BT: Tensor, user_B: Tensor | None) -> Memory:
        """The states of the histories' tokens.

        Args:
            item_BT: (B, T) item rows, with `PADDED_SLOT` on the right and `EMPTY_HISTORY` for a history without items.
            user_B: (B,) numbers of user tokens, where there are any.
        """
        token_BM, slot_BM = self.memory_tokens(item_BT, user_B)
        stack = self.t5.encoder
        n_memory = token_BM.shape[1]
        bias = stack.block[0].layer[0].SelfAttention.compute_bias(n_memory, n_memory, device=token_BM.device)
        is_seen_BMM = self.seen_from(slot_BM)
        if is_seen_BMM is not None:
            # Padded tokens stand to the right of all others, so that nothing but padding sees them.
            bias = bias.masked_fill(~is_seen_BMM[:, None], -torch.inf)
        else:
            bias = bias.masked_fill((token_BM == PAD)[:, None, None, :], -torch.inf)
        read: Tensor = self.t5.shared(token_BM)
        place_BMD = self.memory_places(slot_BM)
        state: Tensor = self.dropout(read if place_BMD is None else read + place_BMD)
        for block in stack.block:
            state = self_attention(block.layer[0], state, bias, self.settings.n_heads, self.attention_dropout)
            state = feed_forward(block.layer[1], state)
        return Memory(self.dropout(stack.final_layer_norm(state)), slot_BM)

    def memory_tokens(self, item_BT: Tensor, user_B: Tensor | None) -> tuple[Tensor, Tensor]:
        """Tokens that the encoder reads, (B, M) int64, `PAD` on the right; arguments as for `encode`.

        With them the slot of the history that each belongs to, (B, M), or (1, M) where it is the same in all rows: -1 in front of the first
        item; that of padding is newer than any that a target may see.
        """
        token_BM = self.item_tokens[item_BT].flatten(1)
        if self.n_front:
            if user_B is None:
                raise ValueError("The network reads user tokens and none were given.")
            token_BM = torch.cat([self.first_user_token + user_B[:, None], token_BM], 1)
        place_M = torch.arange(token_BM.shape[1], device=token_BM.device)
        slot_1M = torch.div(place_M - self.n_front, self.code_length, rounding_mode="floor")[None]
        return (token_BM, slot_1M) if self.end is None else _packed(token_BM, slot_1M)

    def seen_from(self, slot_BM: Tensor) -> Tensor | None:
        """Whether the token of a row may read the one of a column, (B or 1, M, M) bool; None where each reads all that is real."""
        if self.settings.encoder_attention == "full":
            return None
        return slot_BM[:, None] <= slot_BM[:, :, None]

    def memory_places(self, slot_BM: Tensor) -> Tensor | None:
        """What is added to the vector of each token for the place of its item in the history, (B or 1, M, D); None: nothing."""
        if not self.settings.item_places:
            return None
        # Padding may have any.
        places: Tensor = self.places((slot_BM + 1).clamp(max=self.settings.max_history))
        return places

    def decode(self, memory: Memory, input_BCL: Tensor, slot_BC: Tensor) -> Tensor:
        """The states from which the tokens are predicted, (B, C, tokens of the input, D), scaled as the tied head wants them.

        Args:
            memory: from `encode`.
            input_BCL: tokens that the decoder reads, `START` first.
            slot_BC: the newest slot of the history that each target may see.
        """
        stack = self.t5.decoder
        n_rows, n_targets, n_tokens = input_BCL.shape
        first = stack.block[0].layer[0].SelfAttention
        bias = first.compute_bias(n_tokens, n_tokens, device=input_BCL.device)
        is_later = torch.ones(n_tokens, n_tokens, dtype=torch.bool, device=input_BCL.device).triu(1)
        bias = bias.masked_fill(is_later, -torch.inf)
        memory_BMD = memory.state_BMD
        is_seen_BNM = memory.is_seen(slot_BC).repeat_interleave(n_tokens, 1)
        unseen = torch.zeros(is_seen_BNM.shape, dtype=memory_BMD.dtype, device=memory_BMD.device)
        unseen.masked_fill_(~is_seen_BNM, -torch.inf)
        state: Tensor = self.dropout(self.t5.shared(input_BCL)).flatten(0, 1)
        for block in stack.block:
            state = self_attention(block.layer[0], state, bias, self.settings.n_heads, self.attention_dropout)
            packed = state.view(n_rows, n_targets * n_tokens, -1)
            packed = self._cross_attention(block.layer[1], packed, memory_BMD, unseen[:, None])
            state = feed_forward(block.layer[2], packed.view(n_rows * n_targets, n_tokens, -1))
        state = self.dropout(stack.final_layer_norm(state))
        if getattr(self.t5.config, "scale_decoder_outputs", True):
            state = state * self.settings.width**-0.5
        return state.view(n_rows, n_targets, n_tokens, -1)

    def loss(self, item_BT: Tensor, user_B: Tensor | None, target_BC: Tensor, slot_BC: Tensor) -> tuple[Tensor, int]:
        """Sum over targets of the negative log-likelihood of their codes, in nats, and the number of targets.

        Args:
            item_BT: (B, T) histories, as for `encode`.
            user_B: as for `encode`.
            target_BC: (B, C) item rows; `PADDED_SLOT` where a row has no further target.
            slot_BC: (B, C) slots of the history that the targets follow.
        """
        memory = self.encode(item_BT, user_B)
        return self.code_loss(self.decode(memory, self.decoder_input(target_BC), slot_BC), target_BC)

    def decoder_input(self, target_BC: Tensor) -> Tensor:
        """Input of the decoder while it writes the targets' codes, (B, C, tokens to write): the start, and all tokens but the last."""
        code_BCL = self.written_tokens[target_BC]
        return torch.cat([code_BCL.new_full((*target_BC.shape, 1), START), code_BCL[..., :-1]], 2)

    def code_loss(self, state_BCLD: Tensor, target_BC: Tensor) -> tuple[Tensor, int]:
        """Sum over targets of the negative log-likelihood of their codes, given the states that write them, and the number of targets."""
        code_BCL = self.written_tokens[target_BC]
        # Of a padded target nothing is written.
        is_written_BCL = code_BCL != PAD
        loss = full_cross_entropy(state_BCLD[is_written_BCL], self.t5.shared.weight, code_BCL[is_written_BCL])
        return loss, int((target_BC >= 0).sum())

    def mean_memory(self, memory: Memory, slot_BC: Tensor) -> Tensor:
        """The mean of the states that each target may see, (B, C, D); arguments as for `decode`."""
        seen_BCM = memory.is_seen(slot_BC).to(memory.state_BMD.dtype)
        return (seen_BCM @ memory.state_BMD) / seen_BCM.sum(2, keepdim=True)

    def _cross_attention(self, layer: Any, state_BND: Tensor, memory_BMD: Tensor, bias: Tensor) -> Tensor:
        cross, norm = layer.EncDecAttention, layer.layer_norm
        query = normed_linear(state_BND, norm.weight, norm.variance_epsilon, cross.q.weight)
        key_value = linear(memory_BMD, torch.cat([cross.k.weight, cross.v.weight]))
        read = attend(bias, self.settings.n_heads, self.attention_dropout, query, key_value)
        return plus_dropped_linear(state_BND, read, cross.o.weight, layer.dropout)


def _ended(token_IL: Tensor, end: int) -> Tensor:
    """Codes with one more token, the end, behind each; rows that are padding alone stay so."""
    length_I = (token_IL != PAD).sum(1)
    ended = torch.cat([token_IL, token_IL.new_full((len(token_IL), 1), PAD)], 1)
    some = torch.nonzero(length_I).squeeze(1)
    ended[some, length_I[some]] = end
    return ended


def _packed(token_BM: Tensor, slot_1M: Tensor) -> tuple[Tensor, Tensor]:
    """The real tokens of each row side by side with their slots, padded to the row with the most."""
    is_gap_BM = token_BM == PAD
    order_BM = torch.sort(is_gap_BM.byte(), dim=1, stable=True).indices[:, : int((~is_gap_BM).sum(1).max())]
    return token_BM.gather(1, order_BM), slot_1M.masked_fill(is_gap_BM, NEVER_SEEN).gather(1, order_BM)
