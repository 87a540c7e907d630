"""The parameters of a T5's decoder as a search wants them, and the parts of its arithmetic that depend on no user.

The parameters are read from the modules of the transformers library; the arithmetic follows arXiv:1910.10683, section 2.1, and the choices
that the library's T5 makes: root-mean-square norms in front of each part, no bias in any projection, no scaling of the attention's scores,
one table of relative position biases that all layers share, and for tied heads a state scaled by d_model ** -0.5.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbench.nn.codes.trie import CodeTrie
from recbench.nn.compute.projection import Projection

# U users, W beams, N prefixes, R tokens a beam reads in one call, T tokens it has read before, D width, H heads, d width of a head,
# X = H * d, F hidden width, V different tokens, Z nodes of a tree

_MAX_PREFIX_BYTES = 128 * 2**20
_PREFIXES_AT_A_TIME = 4096


@dataclass(frozen=True, eq=False)
class Layer:
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
        self._biases: dict[tuple[int, int], Tensor] = {}
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
                Layer(
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

    def norm(self, x: Tensor) -> Tensor:
        """Divided by its root mean square."""
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        return x * torch.rsqrt(length.square_() / x.shape[-1] + self.eps).to(x.dtype)

    def bias(self, n_before: int, n_tokens: int) -> Tensor:
        """Score added for the distance between reader and read, (H, R, T + R); -inf for what comes later."""
        if (n_before, n_tokens) not in self._biases:
            self._biases[n_before, n_tokens] = self._computed_bias(n_before, n_tokens)
        return self._biases[n_before, n_tokens]

    def _computed_bias(self, n_before: int, n_tokens: int) -> Tensor:
        device = self.relative.device
        distance = torch.arange(n_before, n_before + n_tokens, device=device)[:, None] - torch.arange(n_before + n_tokens, device=device)
        exact = self.n_buckets // 2
        # arXiv:1910.10683, section 2.1: distances below half the buckets have one each, the others share by their logarithm.
        spread = torch.log(distance.clamp(min=1).float() / exact) / math.log(self.max_distance / exact) * (self.n_buckets - exact)
        bucket = torch.where(distance < exact, distance, (exact + spread.long()).clamp(max=self.n_buckets - 1)).clamp(min=0)
        return self.relative[bucket].permute(2, 0, 1).masked_fill(distance < 0, -torch.inf)

    def after_first_attention(self, prefix_NT: Tensor, n_new: int) -> tuple[Tensor, Tensor]:
        """What the first layer makes of prefixes before it reads the memory: no user has a part in it.

        Args:
            prefix_NT: (N, T + R) int64, tokens read, the newest last.
            n_new: R, how many of them are asked about.

        Returns:
            The states behind the self-attention, (N * R, D), and what they ask the memory, (N * R, X).
        """
        layer, n_before = self.layers[0], prefix_NT.shape[1] - n_new
        # Keys, values and queries depend on single tokens, of which there are few different ones.
        token_V, row_NT = torch.unique(prefix_NT, return_inverse=True)
        embedded_VD = functional.embedding(token_V, self.embedding)
        normed_VD = self.norm(embedded_VD)
        new_NR = row_NT[:, n_before:].flatten()
        query, key, value = layer.query(normed_VD).index_select(0, new_NR), layer.key(normed_VD), layer.value(normed_VD)
        keys = [key.index_select(0, row) for row in row_NT.T]
        values = [value.index_select(0, row) for row in row_NT.T]
        if n_new == 1:
            read = self.attend_one(query[:, None], [key[:, None] for key in keys], [value[:, None] for value in values])
        else:
            read = self.attend_many(query, torch.stack(keys, 1), torch.stack(values, 1), n_new)
        state = layer.self_out(read).add_(embedded_VD.index_select(0, new_NR))
        return state, layer.cross_query(self.norm(state))

    def attend_one(self, query_UWX: Tensor, keys: Sequence[Tensor], values: Sequence[Tensor]) -> Tensor:
        """Reading of the newest token of each beam from the tokens up to itself, (U * W, X).

        A beam reads from a handful of keys of its own: products number by number are faster than matrix products here, which
        would be thousands of tiny ones.

        Args:
            query_UWX: of the newest tokens.
            keys: for each token, oldest first, (U, W, X), or (U, 1, X) where all beams of a user share it.
            values: likewise.
        """
        query, *keys = (x.view(*x.shape[:2], self.n_heads, self.d_kv) for x in (query_UWX, *keys))
        score_TUWH = torch.stack([(query * key).sum(-1) for key in keys])
        bias_TH = self.bias(len(keys) - 1, 1)[:, 0].T
        weight = torch.softmax(score_TUWH + bias_TH[:, None, None], 0)[..., None]
        first, *values = (x.view(*x.shape[:2], self.n_heads, self.d_kv) for x in values)
        read = weight[0] * first
        for w, value in zip(weight[1:], values, strict=True):
            read.addcmul_(w, value)
        return read.view(-1, self.inner)

    def attend_many(self, query: Tensor, key_NTX: Tensor, value_NTX: Tensor, n_new: int) -> Tensor:
        """Reading of the newest tokens of each beam, each from the tokens up to itself, (N * R, X).

        Args:
            query: (N * R, X), of the newest tokens.
            key_NTX: (N, T + R, X), of all tokens.
            value_NTX: likewise.
            n_new: R.
        """
        shape = len(key_NTX), -1, self.n_heads, self.d_kv
        query, key, value = (x.view(shape).transpose(1, 2) for x in (query, key_NTX, value_NTX))
        bias_HRT = self.bias(key_NTX.shape[1] - n_new, n_new)
        read = functional.scaled_dot_product_attention(query, key, value, bias_HRT[None], scale=1.0)
        return read.transpose(1, 2).reshape(-1, self.inner)

    def feed_forward(self, layer: Layer, state_ND: Tensor) -> Tensor:
        """Output of a layer's network, its input included."""
        normed = self.norm(state_ND)
        if layer.is_gated:
            gate, linear = layer.hidden(normed).chunk(2, dim=-1)
            hidden = layer.activation(gate).mul_(linear)
        elif isinstance(layer.activation, nn.ReLU):
            hidden = layer.hidden.relu(normed)
        else:
            hidden = layer.activation(layer.hidden(normed))
        return layer.hidden_out(hidden).add_(state_ND)


@dataclass(frozen=True, eq=False)
class PrefixStates:
    """What the first layer makes of each prefix of a tree before it reads the memory, computed once for all users and beams.

    Attributes:
        state_ZD: states behind the self-attention, a row for each of the first nodes of the tree.
        query_ZX: what they ask the memory.
        depth: prefixes of so many tokens are there, the start token counted.
    """

    state_ZD: Tensor
    query_ZX: Tensor
    depth: int

    @classmethod
    def of(cls, parameters: T5DecoderParameters, trie: CodeTrie, start_token: int, n_reads: int) -> Self:
        """Those of a tree, level by level: up to 128 MiB, and as long as a level has no more prefixes than the search will read on it.

        Args:
            parameters: of the decoder.
            trie: on the decoder's device.
            start_token: what each code begins after.
            n_reads: about how many beams all searches together read on a level.
        """
        row_bytes = parameters.embedding.element_size() * (parameters.embedding.shape[1] + parameters.inner)
        prefix = torch.full((1, 1), start_token, device=trie.device)
        states, queries, depth, first_node = [], [], 0, 0
        # The first token alone is not worth a table.
        n_second = int(trie.child_ptr[1])
        with torch.inference_mode(), torch.autocast(trie.device.type, enabled=False):
            while n_second <= n_reads and len(prefix) <= n_reads and (first_node + len(prefix)) * row_bytes <= _MAX_PREFIX_BYTES:
                for part in torch.split(prefix, _PREFIXES_AT_A_TIME):
                    state, query = parameters.after_first_attention(part, 1)
                    states.append(state)
                    queries.append(query)
                depth += 1
                if depth == trie.depth:
                    # What ends a code is written, but never read.
                    break
                first_below = first_node + len(prefix)
                below = torch.arange(first_below, int(trie.path[:, depth - 1].max()) + 1, device=trie.device)
                prefix = torch.cat([prefix[trie.parent[below] - first_node], trie.child_token[below - 1, None]], 1)
                first_node = first_below
        if not states:
            return cls(parameters.embedding[:0], parameters.embedding.new_empty(0, parameters.inner), 0)
        return cls(torch.cat(states), torch.cat(queries), depth)
