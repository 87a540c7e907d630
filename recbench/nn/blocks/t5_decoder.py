"""The decoder half of a T5 model as a beam search wants it: what all beams of a user share is computed and kept once per user.

Keys and values of the cross-attention stand in memory once for each user, (u, heads, M, d_kv) per layer; the beams are further queries to
them. Only keys and values of the few tokens that a beam has read are the beam's own. The parameters are read from the modules of the
transformers library; the arithmetic follows arXiv:1910.10683, section 2.1, and the choices that the library's T5 makes: root-mean-square
norms in front of each part, no bias in any projection, no scaling of the attention's scores, one table of relative position biases that
all layers share, and for tied heads a state scaled by d_model ** -0.5.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbench.nn.compute.projection import Projection

# U users, u users of a call, W beams, R tokens a beam reads in one call, T tokens it has read before, M memory, D width, H heads,
# d width of a head, F hidden width, V vocabulary


# A chunk of users is worked on at a time: as many beams as keep what a layer hands to the next in a processor's cache.
_CHUNK_ROWS = {"cpu": 1024}
_MAX_CHUNK_ROWS = 2**17


@dataclass(frozen=True, eq=False)
class _Read:
    """Keys and values of one token that the beams have read, as they were computed; beams that go on share them."""

    keys: list[Tensor]
    """Per layer (n, H * d), n being the users times the beams of that call."""
    values: list[Tensor]
    row: Tensor
    """(u, W), where each beam of the call before finds its own."""


@dataclass(frozen=True, eq=False)
class _Layer:
    """One block's parameters. The weights of the norms are part of the projections behind them."""

    query: Projection
    key: Projection
    value: Projection
    self_out: Projection
    cross_query: Projection
    memory_key: Projection
    memory_value: Projection
    cross_out: Projection
    hidden: Projection
    """To F, or to 2 F where the second half is gated."""
    hidden_out: Projection
    activation: Any
    is_gated: bool


class T5DecoderParameters:
    """What `T5Decoder` needs of a model, ready to be multiplied: made once, it serves every batch until the model is trained on.

    Args:
        model: a `transformers.T5ForConditionalGeneration`.
    """

    def __init__(self, model: Any) -> None:
        with torch.no_grad(), torch.autocast(model.device.type, enabled=False):
            self._read(model)

    def _read(self, model: Any) -> None:
        config, decoder = model.config, model.decoder
        self.n_heads, self.d_kv, self.eps = config.num_heads, config.d_kv, config.layer_norm_epsilon
        self.n_buckets, self.max_distance = config.relative_attention_num_buckets, config.relative_attention_max_distance
        self.inner = self.n_heads * self.d_kv
        self.embedding: Tensor = decoder.embed_tokens.weight.detach()
        self.relative: Tensor = decoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight.detach()
        # Newer versions say so; in older ones tied embeddings are what is scaled.
        is_scaled = getattr(config, "scale_decoder_outputs", config.tie_word_embeddings)
        head = model.lm_head.weight * decoder.final_layer_norm.weight * (config.d_model**-0.5 if is_scaled else 1.0)
        self.vocabulary = len(head)
        self.head = Projection(head)
        self.layers = []
        for block in decoder.block:
            own, cross, network = block.layer
            attention, norm = own.SelfAttention, own.layer_norm.weight
            dense = network.DenseReluDense
            is_gated = hasattr(dense, "wi_0")
            hidden = torch.cat([dense.wi_0.weight, dense.wi_1.weight]) if is_gated else dense.wi.weight
            self.layers.append(
                _Layer(
                    Projection(attention.q.weight * norm),
                    Projection(attention.k.weight * norm),
                    Projection(attention.v.weight * norm),
                    Projection(attention.o.weight),
                    Projection(cross.EncDecAttention.q.weight * cross.layer_norm.weight),
                    Projection(cross.EncDecAttention.k.weight),
                    Projection(cross.EncDecAttention.v.weight),
                    Projection(cross.EncDecAttention.o.weight),
                    Projection(hidden * network.layer_norm.weight),
                    Projection(dense.wo.weight),
                    dense.act,
                    is_gated,
                )
            )


class T5Decoder:
    """A `StepDecoder` (see `recbench.nn.codes.beam`) over a `transformers.T5ForConditionalGeneration`.

    Args:
        model: whose decoder reads, or its parameters as `T5DecoderParameters` prepared them; its dropout is never applied.
        memory: (U, M, D), what the encoder returned.
        mask: (U, M) bool, where `memory` is real. What is masked has no influence.
        start_token: what each code begins after.
    """

    def __init__(self, model: Any, memory: Tensor, mask: Tensor, start_token: int) -> None:
        self.start_token = start_token
        self._n_users = len(memory)
        with torch.no_grad(), torch.autocast(memory.device.type, enabled=False):
            parameters = self._parameters = model if isinstance(model, T5DecoderParameters) else T5DecoderParameters(model)
            memory, mask = memory.to(parameters.embedding.dtype), mask.bool()
            shape = *memory.shape[:2], parameters.n_heads, parameters.d_kv
            self._memory = [
                tuple(project(memory).view(shape).transpose(1, 2).contiguous() for project in (layer.memory_key, layer.memory_value))
                for layer in parameters.layers
            ]
        self.vocabulary = parameters.vocabulary
        # The smallest number, not minus infinity: a user without any memory reads an average, as in the model itself, and not NaN.
        blocked = torch.zeros_like(mask, dtype=memory.dtype).masked_fill_(~mask, torch.finfo(memory.dtype).min)
        self._mask = None if mask.all() else blocked[:, None, None]
        self._users: Tensor | None = None
        """Which users the call before was about; None for all."""
        self._read_before: list[_Read] = []

    def start_tokens(self) -> Tensor:
        """The start token for each user, (U,)."""
        return torch.full((self._n_users,), self.start_token, device=self._parameters.embedding.device)

    def logits(self, state_ND: Tensor) -> Tensor:
        """The logits (N, V) float32."""
        return self._parameters.head(state_ND).float()

    def advance(self, token_uWR: Tensor, parent_uW: Tensor | None, users: Tensor | None, *, is_last: bool) -> Tensor:
        """See `StepDecoder`."""
        n_users, width, n_tokens = token_uWR.shape
        device = token_uWR.device
        before = self._read_before
        if parent_uW is not None:
            user_u = torch.arange(n_users, device=device) if users is None else users
            before = [_Read(read.keys, read.values, read.row[user_u[:, None], parent_uW]) for read in before]
        if self._users is not None:
            users = self._users if users is None else self._users[users]
        now = None
        if not is_last:
            new = [
                self._parameters.embedding.new_empty(n_users * width, self._parameters.inner)
                for _ in range(2 * len(self._parameters.layers))
            ]
            row_uW = torch.arange(n_users * width, device=device).view(n_users, width)
            now = _Read(new[::2], new[1::2], row_uW)
            self._read_before, self._users = [*before, now], users

        bias_HRT = self._bias(len(before), n_tokens)
        chunk = max(1, _CHUNK_ROWS.get(device.type, _MAX_CHUNK_ROWS) // (width * n_tokens))
        state_uWRD = self._parameters.embedding.new_empty(n_users, width, n_tokens, self._parameters.embedding.shape[1])
        for start in range(0, n_users, chunk):
            part = slice(start, min(start + chunk, n_users))
            rows = [read.row[part].flatten() for read in before]
            state_uWRD[part] = self._chunk(token_uWR[part], before, rows, self._of(users, part), bias_HRT, now, part)
        return state_uWRD

    def _chunk(
        self,
        token_uWR: Tensor,
        before: list[_Read],
        rows: list[Tensor],
        users: slice | Tensor,
        bias_HRT: Tensor,
        now: _Read | None,
        part: slice,
    ) -> Tensor:
        """The states (u, W, R, D) of the beams of some users; puts their keys and values into `now`."""
        n_users, width, n_tokens = token_uWR.shape
        n_beams = n_users * width
        mask = None if self._mask is None else self._mask[users]
        # Before the first attention a state depends on its token alone, and the beams read few different ones.
        token_V, row_N = torch.unique(token_uWR, return_inverse=True)
        row_N = row_N.flatten()
        embedded_VD = functional.embedding(token_V, self._parameters.embedding)
        x_ND = embedded_VD.index_select(0, row_N)
        kept = slice(part.start * width, part.stop * width)
        for number, layer in enumerate(self._parameters.layers):
            key_out = value_out = None
            if now is not None:
                key_out, value_out = now.keys[number][kept], now.values[number][kept]
            if number == 0:
                normed = self._norm(embedded_VD)
                query = layer.query(normed).index_select(0, row_N)
                key = torch.index_select(layer.key(normed), 0, row_N, out=key_out)
                value = torch.index_select(layer.value(normed), 0, row_N, out=value_out)
            else:
                normed = self._norm(x_ND)
                query, key, value = layer.query(normed), layer.key(normed), layer.value(normed)
                if key_out is not None and value_out is not None:
                    key_out.copy_(key)
                    value_out.copy_(value)
            keys = [read.keys[number].index_select(0, row) for read, row in zip(before, rows, strict=True)]
            values = [read.values[number].index_select(0, row) for read, row in zip(before, rows, strict=True)]
            if n_tokens == 1:
                read = self._attend_one(query, [*keys, key], [*values, value], bias_HRT)
            else:
                read = self._attend_many(query, keys, key, values, value, n_beams, bias_HRT)
            x_ND = layer.self_out(read).add_(x_ND)

            query = layer.cross_query(self._norm(x_ND)).view(n_users, width * n_tokens, self._parameters.n_heads, self._parameters.d_kv)
            key, value = self._memory[number]
            read = functional.scaled_dot_product_attention(query.transpose(1, 2), key[users], value[users], mask, scale=1.0)
            x_ND = layer.cross_out(read.transpose(1, 2).reshape(len(x_ND), self._parameters.inner)).add_(x_ND)

            hidden = layer.hidden(self._norm(x_ND))
            if layer.is_gated:
                gate, linear = hidden.chunk(2, dim=-1)
                hidden = layer.activation(gate).mul_(linear)
            elif isinstance(layer.activation, nn.ReLU):
                hidden = hidden.relu_()
            else:
                hidden = layer.activation(hidden)
            x_ND = layer.hidden_out(hidden).add_(x_ND)
        return self._norm(x_ND).view(n_users, width, n_tokens, -1)

    def _attend_one(self, query: Tensor, keys: list[Tensor], values: list[Tensor], bias_HRT: Tensor) -> Tensor:
        """Reading of one token of each beam from the tokens up to itself, (n, H * d).

        A beam reads from a handful of keys of its own: products number by number are faster than matrix products here, which
        would be thousands of tiny ones.
        """
        shape = len(query), self._parameters.n_heads, self._parameters.d_kv
        query = query.view(shape)
        score_TNH = torch.stack([(key.view(shape) * query).sum(-1) for key in keys])
        weight_TNH1 = torch.softmax(score_TNH + bias_HRT[0, :, 0].T[:, None], 0)[..., None]
        read = weight_TNH1[0] * values[0].view(shape)
        for weight, value in zip(weight_TNH1[1:], values[1:], strict=True):
            read.addcmul_(weight, value.view(shape))
        return read.flatten(1)

    def _attend_many(
        self, query: Tensor, keys: list[Tensor], key: Tensor, values: list[Tensor], value: Tensor, n_beams: int, bias_HRT: Tensor
    ) -> Tensor:
        """Reading of several tokens of each beam, each from the tokens up to itself, (n * R, H * d)."""
        shape = n_beams, -1, self._parameters.n_heads, self._parameters.d_kv
        query, key, value = query.view(shape), key.view(shape), value.view(shape)
        if keys:
            key = torch.cat([torch.stack(keys, 1).view(shape), key], 1)
            value = torch.cat([torch.stack(values, 1).view(shape), value], 1)
        query, key, value = (x.transpose(1, 2) for x in (query, key, value))
        read = functional.scaled_dot_product_attention(query, key, value, bias_HRT, scale=1.0)
        return read.transpose(1, 2).reshape(-1, self._parameters.inner)

    @staticmethod
    def _of(users: Tensor | None, part: slice) -> slice | Tensor:
        """The users of a chunk as an index into the memory, which is not copied where they follow one another."""
        if users is None:
            return part
        chosen = users[part]
        first, last = int(chosen[0]), int(chosen[-1])
        return slice(first, last + 1) if last - first == len(chosen) - 1 else chosen

    def _norm(self, x: Tensor) -> Tensor:
        """Divided by its root mean square."""
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        return x * torch.rsqrt(length.square_() / x.shape[-1] + self._parameters.eps).to(x.dtype)

    def _bias(self, n_before: int, n_tokens: int) -> Tensor:
        """Score added for the distance between reader and read, (1, H, R, T + R); -inf for what comes later."""
        device = self._parameters.relative.device
        distance = torch.arange(n_before, n_before + n_tokens, device=device)[:, None] - torch.arange(n_before + n_tokens, device=device)
        exact = self._parameters.n_buckets // 2
        # arXiv:1910.10683, section 2.1: distances below half the buckets have one each, the others share by their logarithm.
        spread = (
            torch.log(distance.clamp(min=1).float() / exact)
            / math.log(self._parameters.max_distance / exact)
            * (self._parameters.n_buckets - exact)
        )
        bucket = torch.where(distance < exact, distance, (exact + spread.long()).clamp(max=self._parameters.n_buckets - 1)).clamp(min=0)
        bias_HRT = self._parameters.relative[bucket].permute(2, 0, 1)
        return bias_HRT.masked_fill(distance < 0, -torch.inf)[None]
