"""The decoder half of a T5 model as a beam search wants it: what all beams of a user share is computed and kept once per user.

Keys and values of the cross-attention stand in memory once for each user, (u, heads, M, d_kv) per layer; the beams are further queries to
them. Only keys and values of the few tokens that a beam has read are the beam's own, and those of the start token are the user's. What the
first layer does before it reads the memory depends on the tokens alone: where a table of a tree's prefixes has it, it is looked up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from recbench.nn.blocks.t5_parameters import PrefixStates, T5DecoderParameters

# U users, u users of a call, W beams, R tokens a beam reads in one call, T tokens it has read before, M memory, D width, H heads,
# d width of a head, X = H * d, V vocabulary

# A chunk of users is worked on at a time: as many beams as keep what a layer hands to the next in a processor's cache.
_CHUNK_ROWS = {"cpu": 1024}
_MAX_CHUNK_ROWS = 2**17
# Torch's attention takes up to twice as long for a memory of 31 tokens as for one of 32, which fill the registers of a processor.
_MEMORY_STEP = {"cpu": 16}


@dataclass(frozen=True, eq=False)
class _Read:
    """Keys and values of one token that the beams have read, as they were computed; beams that go on share them."""

    keys: list[Tensor]
    """Per layer but the first (n, X), n being the users times the beams of that call."""
    values: list[Tensor]
    row: Tensor
    """(u, W), where each beam of the call before finds its own."""
    is_shared: bool
    """Whether a user had one beam then, whose keys all later ones share."""

    def in_layer(self, number: int, part: slice) -> tuple[Tensor, Tensor]:
        """Keys and values of the beams of some users, (u, W, X), or (u, 1, X) where they share them."""
        row = self.row[part, :1] if self.is_shared else self.row[part]
        key, value = (x.index_select(0, row.flatten()) for x in (self.keys[number - 1], self.values[number - 1]))
        return key.view(*row.shape, -1), value.view(*row.shape, -1)


class T5Decoder:
    """A `StepDecoder` (see `recbench.nn.codes.beam`) over a `transformers.T5ForConditionalGeneration`.

    Args:
        model: whose decoder reads, or its parameters as `T5DecoderParameters` prepared them; its dropout is never applied.
        memory: (U, M, D), what the encoder returned.
        mask: (U, M) bool, where `memory` is real. What is masked has no influence.
        start_token: what each code begins after.
        prefixes: of the tree that is searched, made with the same start token.
    """

    def __init__(self, model: Any, memory: Tensor, mask: Tensor, start_token: int, prefixes: PrefixStates | None = None) -> None:
        self.start_token, self._prefixes = start_token, prefixes
        self._n_users = len(memory)
        with torch.no_grad(), torch.autocast(memory.device.type, enabled=False):
            parameters = self._parameters = model if isinstance(model, T5DecoderParameters) else T5DecoderParameters(model)
            memory, mask = memory.to(parameters.embedding.dtype), mask.bool()
            n_padding = -memory.shape[1] % _MEMORY_STEP.get(memory.device.type, 1)
            self._memory = [
                tuple(self._kept(project(memory), n_padding) for project in (layer.memory_key, layer.memory_value))
                for layer in parameters.layers
            ]
            mask = functional.pad(mask, (0, n_padding))
        self.vocabulary = parameters.vocabulary
        # The smallest number, not minus infinity: a user without any memory reads an average, as in the model itself, and not NaN.
        blocked = torch.zeros_like(mask, dtype=memory.dtype).masked_fill_(~mask, torch.finfo(memory.dtype).min)
        self._mask = None if mask.all() else blocked[:, None, None]
        self._users: Tensor | None = None
        """Which users the call before was about; None for all."""
        self._read_before: list[_Read] = []
        self._tokens = torch.empty(self._n_users, 1, 0, dtype=torch.int64, device=memory.device)
        """(u, W, T), what each beam of the call before has read, its last token included."""

    def _kept(self, x_UMX: Tensor, n_padding: int) -> Tensor:
        """(U, H, M, d), with so many tokens more that nobody reads."""
        n_users, n_memory, _ = x_UMX.shape
        n_heads, d_kv = self._parameters.n_heads, self._parameters.d_kv
        kept = x_UMX.new_zeros(n_users, n_heads, n_memory + n_padding, d_kv)
        kept[:, :, :n_memory] = x_UMX.view(n_users, n_memory, n_heads, d_kv).transpose(1, 2)
        return kept

    def start_tokens(self) -> Tensor:
        """The start token for each user, (U,)."""
        return torch.full((self._n_users,), self.start_token, device=self._parameters.embedding.device)

    def logits(self, state_ND: Tensor) -> Tensor:
        """The logits (N, V) float32."""
        return self._parameters.head(state_ND).float()

    def advance(
        self, token_uWR: Tensor, parent_uW: Tensor | None, users: Tensor | None, *, node_uWR: Tensor | None = None, is_last: bool
    ) -> Tensor:
        """See `StepDecoder`."""
        n_users, width, n_tokens = token_uWR.shape
        device = token_uWR.device
        before, tokens_uWT = self._read_before, self._tokens
        if parent_uW is not None:
            user_u1 = (torch.arange(n_users, device=device) if users is None else users)[:, None]
            before = [_Read(read.keys, read.values, read.row[user_u1, parent_uW], read.is_shared) for read in before]
            tokens_uWT = tokens_uWT[user_u1, parent_uW]
        else:
            tokens_uWT = tokens_uWT[slice(None) if users is None else users].expand(-1, width, -1)
        tokens_uWT = torch.cat([tokens_uWT, token_uWR], 2)
        if self._users is not None:
            users = self._users if users is None else self._users[users]

        chunk = max(1, _CHUNK_ROWS.get(device.type, _MAX_CHUNK_ROWS) // (width * n_tokens))
        states, keys, values = [], [], []
        for start in range(0, n_users, chunk):
            part = slice(start, min(start + chunk, n_users))
            state_ND, asked_NX = self._first(tokens_uWT[part], None if node_uWR is None else node_uWR[part], n_tokens)
            state_uWRD, part_keys, part_values = self._chunk(state_ND, asked_NX, width, n_tokens, before, self._of(users, part), part)
            states.append(state_uWRD)
            keys.append(part_keys)
            values.append(part_values)
        if not is_last:
            row_uW = torch.arange(n_users * width, device=device).view(n_users, width)
            now = _Read([_joined(x) for x in zip(*keys, strict=True)], [_joined(x) for x in zip(*values, strict=True)], row_uW, width == 1)
            self._read_before, self._tokens, self._users = [*before, now], tokens_uWT, users
        return _joined(states)

    def _first(self, tokens_uWT: Tensor, node_uWR: Tensor | None, n_tokens: int) -> tuple[Tensor, Tensor]:
        """The first layer before the memory, (n * R, D) and (n * R, X): from the table, or computed."""
        prefixes = self._prefixes
        if prefixes is not None and node_uWR is not None and tokens_uWT.shape[2] <= prefixes.depth:
            node_N = node_uWR.flatten().clamp(min=0)
            return prefixes.state_ZD.index_select(0, node_N), prefixes.query_ZX.index_select(0, node_N)
        return self._parameters.after_first_attention(tokens_uWT.flatten(0, 1), n_tokens)

    def _chunk(
        self, x_ND: Tensor, query: Tensor, width: int, n_tokens: int, before: list[_Read], users: slice | Tensor, part: slice
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """The states (u, W, R, D) of the beams of some users, and their keys and values (n, X) in all layers but the first."""
        parameters = self._parameters
        n_users = part.stop - part.start
        mask = None if self._mask is None else self._mask[users]
        keys, values = [], []
        for number, layer in enumerate(parameters.layers):
            if number:
                normed = parameters.norm(x_ND)
                query, key, value = layer.query(normed), layer.key(normed), layer.value(normed)
                keys.append(key)
                values.append(value)
                earlier = [read.in_layer(number, part) for read in before]
                if n_tokens == 1:
                    own = n_users, width, parameters.inner
                    read = parameters.attend_one(
                        query.view(own), [*(k for k, _ in earlier), key.view(own)], [*(v for _, v in earlier), value.view(own)]
                    )
                else:
                    own = n_users * width, n_tokens, parameters.inner
                    key, value = (
                        torch.cat([*(x[:, :, None].expand(-1, width, -1, -1).flatten(0, 1) for x in those), new.view(own)], 1)
                        for those, new in (([k for k, _ in earlier], key), ([v for _, v in earlier], value))
                    )
                    read = parameters.attend_many(query, key, value, n_tokens)
                x_ND = layer.self_out(read).add_(x_ND)
                query = layer.cross_query(parameters.norm(x_ND))
            query = query.view(n_users, width * n_tokens, parameters.n_heads, parameters.d_kv).transpose(1, 2)
            key, value = self._memory[number]
            read = functional.scaled_dot_product_attention(query, key[users], value[users], mask, scale=1.0)
            x_ND = layer.cross_out(read.transpose(1, 2).reshape(len(x_ND), parameters.inner)).add_(x_ND)
            x_ND = parameters.feed_forward(layer, x_ND)
        return parameters.norm(x_ND).view(n_users, width, n_tokens, -1), keys, values

    @staticmethod
    def _of(users: Tensor | None, part: slice) -> slice | Tensor:
        """The users of a chunk as an index into the memory, which is not copied where they follow one another."""
        if users is None:
            return part
        chosen = users[part]
        first, last = int(chosen[0]), int(chosen[-1])
        return slice(first, last + 1) if last - first == len(chosen) - 1 else chosen


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
