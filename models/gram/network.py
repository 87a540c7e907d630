"""The network: a T5 of the transformers library that reads every text of a user on its own and fuses them in its decoder.

Texts are encoded one by one, each once for all targets of a batch that read it. A learnt vector for the text's place in the history is
added to its states, and the decoder attends to the states of all texts that a target may read (fusion-in-decoder). Keys and values are
linear in the states, so place vectors need not be added text by text: their part of a score is one number for each (query, place), and
their part of what is read is the places' share of the attention times their values. Where a stretch has few queries, keys and values are
not made at all.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from recbench.core import Histories
from recbench.core.ragged import LongArray, Ragged
from recbench.nn.blocks import feed_forward, normed_linear, plus_dropped_linear, replace_dropout, self_attention
from recbench.nn.compute import Dropout, linear, replace_linear
from recbench.nn.training import full_cross_entropy
from recbench_models.gram.config import GRAMConfig
from recbench_models.gram.data import Batch, Examples
from recbench_models.gram.frozen import FrozenReader
from recbench_models.gram.vocabulary import PAD

START = PAD

# N texts, L tokens of a text, S tokens of all texts, D width, B stretches, J items of a stretch, C targets of a stretch, T targets,
# Y tokens of an ID with its end token, M tokens of a stretch's items, K tokens of a user prompt, P places, H heads, d width of a head

_BLOCKED = -1e30
"""Score of what must not be read: no infinity, as it is multiplied by zeros."""
_FOLDED_UP_TO = 1.0
"""Keys and values are folded into queries as long as a stretch's queries cost so many times the products that they save."""
_GROUP_TOKENS = {"cpu": 4_096}
_MAX_GROUP_TOKENS = 131_072
"""Texts are encoded in groups of like length and about so many tokens: what passes between layers should stay in a processor's caches."""


class GRAMNetwork(nn.Module):
    """A T5 and the vectors of places.

    Args:
        config: which parts are read, and dropout.
        t5: a `transformers.T5ForConditionalGeneration`.
        prompts: the prompt of every item.
        labels: the ID of every item, end token included.
        frozen: reads item prompts in the place of the T5's encoder, which then reads user prompts alone; None: the encoder reads both.
    """

    label_IY: Tensor
    """(n_items, Y) int64, the IDs with their end token, `PAD` behind it."""

    def __init__(self, config: GRAMConfig, t5: Any, prompts: Ragged, labels: Ragged, frozen: FrozenReader | None = None) -> None:
        super().__init__()
        self.config, self.t5, self.frozen = config, t5, frozen
        self.prompts = prompts
        replace_dropout(t5, config.backbone.dropout)
        replace_linear(t5)
        self.dropout, self.attention_dropout = Dropout(config.backbone.dropout), Dropout(config.backbone.attention_dropout)
        # Place 0 is the user prompt, place n the n-th newest item.
        self.places = nn.Embedding(config.prompts.max_history + 1, t5.config.d_model)
        nn.init.normal_(self.places.weight, std=0.02)
        if not config.prompts.slot_vectors:
            nn.init.zeros_(self.places.weight)
            self.places.weight.requires_grad_(False)
        label_IY = torch.from_numpy(padded_tokens(labels)).long()
        self.register_buffer("label_IY", label_IY, persistent=False)
        self.weights_version = 0
        """Changes with every switch between training and answering; what was computed with one version is of no use with another."""

    def train(self, mode: bool = True) -> "GRAMNetwork":
        """Switch dropout on or off."""
        self.weights_version += 1
        return super().train(mode)

    def encode(self, texts: Ragged) -> tuple[Tensor, Tensor]:
        """The states of all tokens of some texts, (S, D), and where those of each text begin, (N,)."""
        device = self.places.weight.device
        order = np.argsort(texts.lengths, kind="stable")
        size = _GROUP_TOKENS.get(device.type, _MAX_GROUP_TOKENS)
        cuts = np.flatnonzero(np.diff(np.cumsum(texts.lengths[order]) // size)) + 1
        parts = []
        for rows in np.split(order, cuts):
            group = texts.take(rows)
            token_NL = torch.from_numpy(padded_tokens(group)).to(device)
            length_N = torch.from_numpy(group.lengths).to(device)
            parts.append(self._encode_group(token_NL, length_N))
        start = np.empty(len(order), dtype=np.int64)
        lengths = texts.lengths[order]
        start[order] = np.cumsum(lengths) - lengths
        return torch.cat(parts), torch.from_numpy(start).to(device)

    def _encode_group(self, token_NL: Tensor, length_N: Tensor) -> Tensor:
        """The states of the real tokens of texts of like length."""
        stack = self.t5.encoder
        longest = token_NL.shape[1]
        is_real_NL = torch.arange(longest, device=token_NL.device) < length_N[:, None]
        bias = stack.block[0].layer[0].SelfAttention.compute_bias(longest, longest, device=token_NL.device)
        is_ragged = not bool(is_real_NL.all())
        if is_ragged:
            bias = bias.masked_fill(~is_real_NL[:, None, None, :], -torch.inf)
        state: Tensor = self.dropout(self.t5.shared(token_NL))
        for block in stack.block:
            state = self_attention(block.layer[0], state, bias, self.t5.config.num_heads, self.attention_dropout)
            state = feed_forward(block.layer[1], state)
        state = self.dropout(stack.final_layer_norm(state))
        return state[is_real_NL] if is_ragged else state.flatten(0, 1)

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """The mean loss of the IDs' tokens times the number of targets, in nats, and that number."""
        target_BC = torch.from_numpy(batch.target_BC).to(self.label_IY.device)
        label_BCY = self.label_IY[target_BC.clamp(min=0)]
        is_target_BC = target_BC >= 0
        label_BCY = label_BCY[..., : int((label_BCY != PAD).sum(-1)[is_target_BC].max())]
        is_label_BCY = (label_BCY != PAD) & is_target_BC[..., None]
        state_BCYD = self.decode(self.memory(batch), label_BCY)
        total = full_cross_entropy(state_BCYD[is_label_BCY], self.t5.lm_head.weight, label_BCY[is_label_BCY])
        # A mean over tokens, as published; the training loop divides by targets.
        n_targets = int(is_target_BC.sum())
        return total * (n_targets / is_label_BCY.sum()), n_targets

    def memory(self, batch: Batch) -> "Memory":
        """Everything that the targets of a batch attend to."""
        device = self.label_IY.device
        items = users = None
        if self.config.prompts.items:
            length_N = self.prompts.lengths[batch.item]
            if self.frozen is None:
                state_SD, start_N = self.encode(self.prompts.take(batch.item))
            else:
                state_SD, start_N = self.dropout(self.frozen(batch.item)), torch.from_numpy(np.cumsum(length_N) - length_N).to(device)
            items = ItemMemory.of(batch, state_SD, start_N, length_N, self.config.prompts.max_history)
        if batch.user_prompt is not None:
            state_SD, start_N = self.encode(batch.user_prompt)
            users = UserMemory.of(batch, state_SD + self.places.weight[0], start_N, torch.from_numpy(batch.user_prompt.lengths).to(device))
        return Memory(items, users)

    def decode(self, memory: "Memory", label_BCY: Tensor) -> Tensor:
        """The states from which the tokens of IDs are predicted, (B, C, Y, D), scaled as the head wants them.

        Args:
            memory: from `memory`.
            label_BCY: what is to be written; the decoder reads it one place later.
        """
        stack, config = self.t5.decoder, self.t5.config
        n_stretches, n_targets, n_tokens = label_BCY.shape
        bias = stack.block[0].layer[0].SelfAttention.compute_bias(n_tokens, n_tokens, device=label_BCY.device)
        is_later = torch.ones(n_tokens, n_tokens, dtype=torch.bool, device=label_BCY.device).triu(1)
        bias = bias.masked_fill(is_later, -torch.inf)
        read_BCY = torch.cat([label_BCY.new_full((n_stretches, n_targets, 1), START), label_BCY[..., :-1]], 2)
        state: Tensor = self.dropout(self.t5.shared(read_BCY)).flatten(0, 1)
        is_folded = n_targets * n_tokens * (config.d_model - config.d_kv) < _FOLDED_UP_TO * config.d_model * config.d_kv
        for block in stack.block:
            state = self_attention(block.layer[0], state, bias, config.num_heads, self.attention_dropout)
            cross, norm = block.layer[1], block.layer[1].layer_norm
            attention = (_folded if is_folded else _plain)(cross.EncDecAttention, config.num_heads)
            query = normed_linear(state, norm.weight, norm.variance_epsilon, attention.query_XD)
            query = query.view(n_stretches, n_targets, -1, attention.n_heads, attention.width)
            read = self._read(query, attention, memory).reshape(*state.shape[:2], -1)
            state = plus_dropped_linear(state, read, attention.out_DX, cross.dropout)
            state = feed_forward(block.layer[2], state)
        state = self.dropout(stack.final_layer_norm(state))
        if getattr(config, "scale_decoder_outputs", config.tie_word_embeddings):
            state = state * config.d_model**-0.5
        return state.view(n_stretches, n_targets, n_tokens, -1)

    def _read(self, query_BCYHd: Tensor, attention: "CrossAttention", memory: "Memory") -> Tensor:
        """Reading of the queries, (B, C, Y, H, d): one softmax over the items of the stretch and the target's own user prompt."""
        shape = query_BCYHd.shape
        query_BHQd = query_BCYHd.flatten(1, 2).transpose(1, 2)
        scores, parts = [], []
        items, users = memory.items, memory.users
        if users is not None:
            # (B * C, H, Y, d) against (B * C, H, d, K): each target has a prompt of its own.
            key, value = attention.keys_values(users.state_SD, users.index_TK)
            score_THYK = query_BCYHd.flatten(0, 1).transpose(1, 2) @ key.transpose(2, 3)
            score_THYK = score_THYK.masked_fill(~users.is_real_TK[:, None, None], -torch.inf)
            scores.append(torch.unflatten(score_THYK, 0, shape[:2]).transpose(1, 2).flatten(2, 3))
            parts.append(value)
        if items is not None:
            key, value = attention.keys_values(items.state_SD, items.index_BM)
            place_key, place_value = (part[0] for part in attention.keys_values(self.places.weight[1:], items.place_1P))
            # A column more for what a target must not read.
            place_score = functional.pad(query_BHQd @ place_key.transpose(1, 2), (0, 1), value=_BLOCKED)
            index_BHQJ = items.place_BCJ[:, None, :, None].expand(-1, shape[3], -1, shape[2], -1).flatten(2, 3)
            scores.append(query_BHQd @ key.transpose(2, 3) + place_score.gather(3, index_BHQJ) @ items.is_of_BJM[:, None])
            parts.append(value)
        weight = self.attention_dropout(torch.softmax(torch.cat(scores, 3).float(), -1).to(query_BHQd.dtype))
        read_BHQd = torch.zeros_like(query_BHQd)
        if items is not None:
            item_weight = weight[..., -items.index_BM.shape[1] :]
            share_BHQJ = item_weight @ items.is_of_BJM[:, None].transpose(2, 3)
            share_BHQP = torch.zeros_like(place_score).scatter_add(3, index_BHQJ, share_BHQJ)[..., :-1]
            read_BHQd = item_weight @ parts[-1] + share_BHQP @ place_value
        if users is not None:
            user_weight = torch.unflatten(weight[..., : users.index_TK.shape[1]], 2, shape[1:3]).transpose(1, 2).flatten(0, 1)
            read_BHQd = read_BHQd + torch.unflatten(user_weight @ parts[0], 0, shape[:2]).transpose(1, 2).flatten(2, 3)
        return torch.unflatten(read_BHQd.transpose(1, 2), 1, shape[1:3])


@dataclass(frozen=True, eq=False)
class CrossAttention:
    """Weights with which the decoder reads the memory.

    Attributes:
        query_XD: makes the queries.
        key_value: makes keys and values; None: each head reads the states themselves.
        out_DX: makes of what was read what is added.
        n_heads: that have keys of their own; 1 where all read the same.
        width: of a query.
    """

    query_XD: Tensor
    key_value: Tensor | None
    out_DX: Tensor
    n_heads: int
    width: int

    def keys_values(self, state_SD: Tensor, index_NM: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of some rows of states, (N, heads, M, width)."""
        if self.key_value is None:
            state_N1MD = functional.embedding(index_NM, state_SD)[:, None]
            return state_N1MD, state_N1MD
        made = functional.embedding(index_NM, linear(state_SD, self.key_value))
        key, value = (x.view(*x.shape[:2], self.n_heads, -1).transpose(1, 2) for x in made.chunk(2, -1))
        return key, value


def _plain(attention: Any, n_heads: int) -> CrossAttention:
    """The weights as they are."""
    width = len(attention.q.weight) // n_heads
    return CrossAttention(attention.q.weight, torch.cat([attention.k.weight, attention.v.weight]), attention.o.weight, n_heads, width)


def _folded(attention: Any, n_heads: int) -> CrossAttention:
    """Weights that do the same without keys and values: their products are multiplied into those of queries and of what is read.

    A batch has many more texts than queries, and no head needs keys of its own. The heads of a token are so many queries.
    """
    query_HdD, key_HdD, value_HdD = (
        part.weight.view(n_heads, -1, part.weight.shape[1]) for part in (attention.q, attention.k, attention.v)
    )
    query_HDD = key_HdD.transpose(1, 2) @ query_HdD
    out_HDD = attention.o.weight.view(len(attention.o.weight), n_heads, -1).transpose(0, 1) @ value_HdD
    width = query_HDD.shape[1]
    return CrossAttention(query_HDD.flatten(0, 1), None, out_HDD.transpose(0, 1).flatten(1), 1, width)


@dataclass(frozen=True, eq=False)
class ItemMemory:
    """The texts of the items of stretches.

    Attributes:
        state_SD: (S, D), the states of the batch's item prompts, one after the other.
        index_BM: (B, M), which of them are the memory of each stretch, oldest item first.
        is_of_BJM: (B, J + 1, M), 1 where a state is of the text in a slot, 0 elsewhere; what fills up is of a slot behind the last one.
        place_BCJ: (B, C, J + 1), the place of each slot for each target, from 0 for the newest item; the number of places for those that a
            target does not read.
        place_1P: (1, P), the numbers of all places.
    """

    state_SD: Tensor
    index_BM: Tensor
    is_of_BJM: Tensor
    place_BCJ: Tensor
    place_1P: Tensor

    @classmethod
    def of(cls, batch: Batch, state_SD: Tensor, start_N: Tensor, length_N: LongArray, n_places: int) -> "ItemMemory":
        """The memory of a batch whose item prompts begin at `start_N` and have `length_N` tokens."""
        device = state_SD.device
        is_item_BJ = batch.place_BJ >= 0
        n_slots = is_item_BJ.shape[1]
        length_BJ = np.where(is_item_BJ, length_N[batch.place_BJ], 0)
        longest = int(length_BJ.sum(1).max())
        stretch, slot = np.nonzero(is_item_BJ)
        length = length_BJ[stretch, slot]
        # The tokens of all slots, one after the other: whose they are, and the how-manieth of theirs.
        row = np.repeat(np.arange(len(length)), length)
        nth = np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)
        before = np.cumsum(length_BJ, axis=1) - length_BJ
        column = before[stretch, slot][row] + nth
        index_BM, slot_BM = np.zeros((len(length_BJ), longest), np.int64), np.full((len(length_BJ), longest), n_slots, np.int64)
        index_BM[stretch[row], column] = start_N.cpu().numpy()[batch.place_BJ[stretch, slot]][row] + nth
        slot_BM[stretch[row], column] = slot[row]
        is_of_BJM = (np.arange(n_slots + 1)[:, None] == slot_BM[:, None]).astype(np.float32)
        place_BCJ = batch.slot_BC[:, :, None] - np.arange(n_slots + 1)
        place_BCJ = np.where((place_BCJ >= 0) & (place_BCJ < n_places) & (np.arange(n_slots + 1) < n_slots), place_BCJ, n_places)
        index, is_of, place = (torch.from_numpy(part).to(device) for part in (index_BM, is_of_BJM, place_BCJ))
        return cls(state_SD, index, is_of.to(state_SD.dtype), place, torch.arange(n_places, device=device)[None])


@dataclass(frozen=True, eq=False)
class UserMemory:
    """The user prompts of targets.

    Attributes:
        state_SD: (S, D), their states, one prompt after the other, the vector of their place included.
        index_TK: (B * C, K), which of them are the memory of each target.
        is_real_TK: (B * C, K) bool.
    """

    state_SD: Tensor
    index_TK: Tensor
    is_real_TK: Tensor

    @classmethod
    def of(cls, batch: Batch, state_SD: Tensor, start_N: Tensor, length_N: Tensor) -> "UserMemory":
        """The memory of a batch whose user prompts begin at `start_N` and have `length_N` tokens."""
        is_target_T = torch.from_numpy(batch.target_BC >= 0).flatten().to(state_SD.device)
        # Where there is no target any prompt will do.
        prompt_T = (is_target_T.cumsum(0) - 1).clamp(min=0)
        column_K = torch.arange(int(length_N.max()), device=state_SD.device)
        is_real_TK = column_K < length_N[prompt_T][:, None]
        return cls(state_SD, torch.where(is_real_TK, start_N[prompt_T][:, None] + column_K, 0), is_real_TK)


@dataclass(frozen=True, eq=False)
class Memory:
    """Memory that the decoder attends to."""

    items: ItemMemory | None
    users: UserMemory | None


def padded_tokens(lists: Ragged) -> LongArray:
    """Lists of tokens as a rectangle (n, longest) int64, `PAD` behind their ends."""
    return Histories(lists.item, lists.offsets).padded(PAD).astype(np.int64)


class GRAMTraining(nn.Module):
    """`module(rows)` gives the loss of the targets of stretches `rows`, as the training loop wants it."""

    def __init__(self, network: GRAMNetwork, examples: Examples) -> None:
        super().__init__()
        self.network = network
        self._examples = examples

    def forward(self, rows: LongArray) -> tuple[Tensor, int]:
        return self.network.loss(self._examples.batch(rows))
