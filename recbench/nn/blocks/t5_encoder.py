"""The encoder half of a T5 model for inference: some users at a time, so that what passes between layers stays in a processor's cache.

The parameters are read from the modules of the transformers library; the arithmetic is that of `recbench.nn.blocks.t5_decoder`.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from recbench.nn.compute.projection import Projection

# U users, u users of a chunk, M tokens of a memory, N tokens of a chunk, D width, H heads

_CHUNK_TOKENS = {"cpu": 1024}
_MAX_CHUNK_TOKENS = 2**18


class T5Encoder:
    """Reads tokens with the encoder of a `transformers.T5ForConditionalGeneration`; its dropout is never applied.

    Args:
        model: whose encoder reads, with the parameters it has now.
    """

    def __init__(self, model: Any) -> None:
        config, encoder = model.config, model.encoder
        self._n_heads, self._eps = config.num_heads, config.layer_norm_epsilon
        self._attention = encoder.block[0].layer[0].SelfAttention
        with torch.no_grad(), torch.autocast(encoder.embed_tokens.weight.device.type, enabled=False):
            self._embedding: Tensor = encoder.embed_tokens.weight.detach()
            self._last_norm: Tensor = encoder.final_layer_norm.weight.detach()
            self._layers = [_layer_of(block) for block in encoder.block]

    def __call__(self, token_UM: Tensor, mask_UM: Tensor, is_seen_UMM: Tensor | None = None, place_UMD: Tensor | None = None) -> Tensor:
        """The states of all tokens, (U, M, D).

        Args:
            token_UM: (U, M) int64, padded on the right.
            mask_UM: (U, M) bool, what is real. Nobody reads the rest; what stands there in the result means nothing.
            is_seen_UMM: (U, M, M) bool, or (1, M, M) for all users, whether the token of a row may read the one of a column; None: every
                real one.
            place_UMD: (U, M, D), or (1, M, D) for all users, what is added to the vectors of the tokens for where they stand.
        """
        device = token_UM.device
        n_users, n_memory = token_UM.shape
        memory = self._embedding.new_empty(n_users, n_memory, self._embedding.shape[1])
        chunk = max(1, _CHUNK_TOKENS.get(device.type, _MAX_CHUNK_TOKENS) // max(n_memory, 1))
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            bias = self._attention.compute_bias(n_memory, n_memory, device=device).to(self._embedding.dtype)
            blocked = torch.finfo(bias.dtype).min
            for_all = is_seen_UMM is None or len(is_seen_UMM) == 1
            if is_seen_UMM is not None and for_all:
                bias = bias.masked_fill(~is_seen_UMM, blocked)
            for start in range(0, n_users, chunk):
                part = slice(start, start + chunk)
                own = bias if is_seen_UMM is None or for_all else bias.masked_fill(~is_seen_UMM[part, None], blocked)
                place = place_UMD if place_UMD is None or len(place_UMD) == 1 else place_UMD[part]
                memory[part] = self._chunk(token_UM[part], mask_UM[part], own, place)
        return memory

    def _chunk(self, token_uM: Tensor, mask_uM: Tensor, bias_HMM: Tensor, place_uMD: Tensor | None) -> Tensor:
        n_users, n_memory = token_uM.shape
        if not mask_uM.all():
            # The smallest number, not minus infinity: a user without any token reads an average, as in the model itself, and not NaN.
            blocked = torch.zeros_like(mask_uM, dtype=bias_HMM.dtype).masked_fill_(~mask_uM, torch.finfo(bias_HMM.dtype).min)
            bias_HMM = torch.maximum(bias_HMM + blocked[:, None, None], bias_HMM.new_tensor(torch.finfo(bias_HMM.dtype).min))
        x_ND = functional.embedding(token_uM.flatten(), self._embedding)
        if place_uMD is not None:
            x_ND.view(n_users, n_memory, -1).add_(place_uMD)
        for projection, self_out, hidden_in, hidden_out, activation, is_gated in self._layers:
            read = projection(self._norm(x_ND)).view(n_users, n_memory, 3, self._n_heads, -1)
            query, key, value = read.permute(2, 0, 3, 1, 4)
            read = functional.scaled_dot_product_attention(query, key, value, bias_HMM, scale=1.0)
            x_ND = self_out(read.transpose(1, 2).reshape(len(x_ND), -1)).add_(x_ND)
            hidden = hidden_in(self._norm(x_ND))
            if is_gated:
                gate, linear = hidden.chunk(2, dim=-1)
                hidden = activation(gate).mul_(linear)
            else:
                hidden = activation(hidden)
            x_ND = hidden_out(hidden).add_(x_ND)
        return (self._norm(x_ND) * self._last_norm).view(n_users, n_memory, -1)

    def _norm(self, x: Tensor) -> Tensor:
        """Divided by its root mean square."""
        return x * torch.rsqrt(
            torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32).square_() / x.shape[-1] + self._eps
        ).to(x.dtype)


def _layer_of(block: Any) -> tuple[Projection, Projection, Projection, Projection, Any, bool]:
    """One block's parameters, the norms' weights in them: query, key and value in one, output, both of the network, its activation."""
    own, network = block.layer
    attention, dense = own.SelfAttention, network.DenseReluDense
    projection = torch.cat([attention.q.weight, attention.k.weight, attention.v.weight]) * own.layer_norm.weight
    is_gated = hasattr(dense, "wi_0")
    hidden = torch.cat([dense.wi_0.weight, dense.wi_1.weight]) if is_gated else dense.wi.weight
    activation = functional.relu_ if isinstance(dense.act, torch.nn.ReLU) else dense.act
    return (
        Projection(projection),
        Projection(attention.o.weight),
        Projection(hidden * network.layer_norm.weight),
        Projection(dense.wo.weight),
        activation,
        is_gated,
    )
