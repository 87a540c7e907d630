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
from torch import Tensor
from torch.nn import functional

# U users, u users of a call, W beams, R tokens a beam reads in one call, T tokens it has read before, M memory, D width, H heads,
# d width of a head, F hidden width, V vocabulary


@dataclass(frozen=True, eq=False)
class _Layer:
    """One block's parameters. The weights of the norms are multiplied into the projections behind them."""

    query_key_value: Tensor
    self_out: Tensor
    cross_query: Tensor
    cross_out: Tensor
    hidden: Tensor
    """(F, D), or (2 F, D) where the second half is gated."""
    hidden_out: Tensor
    activation: Any
    is_gated: bool


class T5Decoder:
    """A `StepDecoder` (see `recbench.nn.beam`) over a `transformers.T5ForConditionalGeneration`.

    Args:
        model: whose decoder reads; its dropout is never applied.
        memory: (U, M, D), what the encoder returned.
        mask: (U, M) bool, where `memory` is real. What is masked has no influence; at least one place of a user is real.
        start_token: what each code begins after.
    """

    def __init__(self, model: Any, memory: Tensor, mask: Tensor, start_token: int) -> None:
        self.start_token = start_token
        self._n_users = len(memory)
        self._mask = mask.bool()[:, None, None]
        with torch.no_grad():
            self._read(model)
            self._memory = [self._read_memory(block.layer[1].EncDecAttention, memory) for block in model.decoder.block]
        self._own: list[tuple[Tensor, Tensor]] = []
        """Per layer keys and values (u * W, H, T, d) of what the beams of the call before have read."""
        self._width = 1

    @property
    def memory_bytes(self) -> int:
        """Bytes of the cross-attention's keys and values: users x M x layers x 2 x heads x d_kv x bytes of a number."""
        return sum(part.numel() * part.element_size() for layer in self._memory for part in layer)

    def start_tokens(self) -> Tensor:
        return torch.full((self._n_users,), self.start_token, device=self._head.device)

    def logits(self, state_ND: Tensor) -> Tensor:
        return functional.linear(state_ND, self._head).float()

    def advance(self, token_uWR: Tensor, parent_uW: Tensor | None, users: Tensor | None, *, is_last: bool) -> Tensor:
        n_users, width, n_tokens = token_uWR.shape
        own = self._own
        if parent_uW is not None and own:
            row_uW = parent_uW + self._width * (torch.arange(n_users, device=parent_uW.device) if users is None else users)[:, None]
            rows = row_uW.flatten()
            own = [(key[rows], value[rows]) for key, value in own]
        memory, mask = self._memory, self._mask
        if users is not None:
            memory, mask = [(key[users], value[users]) for key, value in memory], mask[users]
        n_before = own[0][0].shape[2] if own else 0
        bias_HRT = self._bias(n_before, n_tokens)

        x_uWRD = self._embedding[token_uWR]
        kept = []
        for number, layer in enumerate(self._layers):
            normed = self._norm(x_uWRD)
            projected = functional.linear(normed, layer.query_key_value).view(n_users * width, n_tokens, 3, self._n_heads, self._d_kv)
            query, key, value = projected.permute(2, 0, 3, 1, 4)
            if own:
                key, value = torch.cat([own[number][0], key], 2), torch.cat([own[number][1], value], 2)
            kept.append((key, value))
            read = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias_HRT, scale=1.0)
            x_uWRD = x_uWRD + functional.linear(read.transpose(1, 2).reshape(n_users, width, n_tokens, -1), layer.self_out)

            query = functional.linear(self._norm(x_uWRD), layer.cross_query).view(n_users, width * n_tokens, self._n_heads, self._d_kv)
            read = functional.scaled_dot_product_attention(query.transpose(1, 2), memory[number][0], memory[number][1], mask, scale=1.0)
            x_uWRD = x_uWRD + functional.linear(read.transpose(1, 2).reshape(n_users, width, n_tokens, -1), layer.cross_out)

            hidden = functional.linear(self._norm(x_uWRD), layer.hidden)
            if layer.is_gated:
                gate, linear = hidden.chunk(2, dim=-1)
                hidden = layer.activation(gate) * linear
            else:
                hidden = layer.activation(hidden)
            x_uWRD = x_uWRD + functional.linear(hidden, layer.hidden_out)
        if not is_last:
            self._own, self._width, self._memory, self._mask = kept, width, memory, mask
        return self._norm(x_uWRD)

    def _norm(self, x: Tensor) -> Tensor:
        """Divided by its root mean square."""
        return functional.rms_norm(x, x.shape[-1:], eps=self._eps)

    def _bias(self, n_before: int, n_tokens: int) -> Tensor:
        """What the distance between reader and read adds to a score, (1, H, R, T + R); -inf for what comes later."""
        device = self._relative.device
        distance = torch.arange(n_before, n_before + n_tokens, device=device)[:, None] - torch.arange(n_before + n_tokens, device=device)
        exact = self._n_buckets // 2
        # arXiv:1910.10683, section 2.1: distances below half the buckets have one each, the others share by their logarithm.
        spread = torch.log(distance.clamp(min=1).float() / exact) / math.log(self._max_distance / exact) * (self._n_buckets - exact)
        bucket = torch.where(distance < exact, distance, (exact + spread.long()).clamp(max=self._n_buckets - 1)).clamp(min=0)
        bias_HRT = self._relative[bucket].permute(2, 0, 1)
        return bias_HRT.masked_fill(distance < 0, -torch.inf)[None]

    def _read(self, model: Any) -> None:
        config, decoder = model.config, model.decoder
        self._n_heads, self._d_kv, self._eps = config.num_heads, config.d_kv, config.layer_norm_epsilon
        self._n_buckets, self._max_distance = config.relative_attention_num_buckets, config.relative_attention_max_distance
        self._embedding: Tensor = decoder.embed_tokens.weight
        self._relative: Tensor = decoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight
        # Newer versions say so; in older ones tied embeddings are what is scaled.
        is_scaled = getattr(config, "scale_decoder_outputs", config.tie_word_embeddings)
        self._head = model.lm_head.weight * decoder.final_layer_norm.weight * (config.d_model**-0.5 if is_scaled else 1.0)
        self.vocabulary = len(self._head)
        self._layers = []
        for block in decoder.block:
            own, cross, network = block.layer
            attention, norm = own.SelfAttention, own.layer_norm.weight
            dense = network.DenseReluDense
            is_gated = hasattr(dense, "wi_0")
            hidden = torch.cat([dense.wi_0.weight, dense.wi_1.weight]) if is_gated else dense.wi.weight
            self._layers.append(
                _Layer(
                    torch.cat([attention.q.weight, attention.k.weight, attention.v.weight]) * norm,
                    attention.o.weight,
                    cross.EncDecAttention.q.weight * cross.layer_norm.weight,
                    cross.EncDecAttention.o.weight,
                    hidden * network.layer_norm.weight,
                    dense.wo.weight,
                    dense.act,
                    is_gated,
                )
            )

    def _read_memory(self, attention: Any, memory: Tensor) -> tuple[Tensor, Tensor]:
        """One layer's keys and values of the memory, (U, H, M, d) each."""
        shape = *memory.shape[:2], self._n_heads, self._d_kv
        key = functional.linear(memory, attention.k.weight).view(shape).transpose(1, 2).contiguous()
        value = functional.linear(memory, attention.v.weight).view(shape).transpose(1, 2).contiguous()
        return key, value
