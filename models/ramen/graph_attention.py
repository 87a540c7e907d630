"""GATv2 over lists of neighbours, with the sums of pairs of a few edges at a time in memory."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from recbench.core import Ragged
from recbench.nn.blocks import xavier_linear
from recbench.nn.compute import Dropout

# N items, E edges of the graph, e edges of one chunk, K heads, D width

_LEAKY_SLOPE = 0.2
_CHUNK_BYTES = {"cpu": 2**21, "cuda": 2**28}
"""On a CPU the vectors of a chunk of edges should stay in its caches; a GPU wants few, large kernels."""


class Graph(NamedTuple):
    """Edges of the items' graph, those of one target side by side: `source_E`, `target_E` and `start_N`, where each target's begin."""

    source_E: Tensor
    target_E: Tensor
    start_N: Tensor

    @classmethod
    def of(cls, neighbours: Ragged) -> "Graph":
        """An edge to every item from each of its neighbours."""
        edges = neighbours.item.astype(np.int64), neighbours.row_of_entry(), neighbours.offsets[:-1].copy()
        return cls(*map(torch.from_numpy, edges))


class GraphAttention(nn.Module):
    """One layer of GATv2 (arXiv:2105.14491) without self-loops: an item is told what its neighbours hold, averaged over heads.

    Args:
        width: D.
        n_heads: K.
        dropout: on the weights of neighbours.
    """

    def __init__(self, width: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.of_source = xavier_linear(width, n_heads * width)
        self.of_target = xavier_linear(width, n_heads * width)
        self.attention = nn.Parameter(nn.init.xavier_normal_(torch.empty(n_heads, width)))
        self.bias = nn.Parameter(torch.zeros(width))
        self.dropout = Dropout(dropout)

    def forward(self, node_ND: Tensor, graph: Graph) -> Tensor:
        """(N, D); the bias alone for an item without neighbours."""
        source_NKD = self._heads(self.of_source(node_ND))
        weight_EK = self.dropout(self._weights(source_NKD, self._heads(self.of_target(node_ND)), graph))
        told = [
            functional.embedding_bag(graph.source_E, source_ND, graph.start_N, mode="sum", per_sample_weights=weight_E)
            for source_ND, weight_E in zip(source_NKD.unbind(1), weight_EK.unbind(1), strict=True)
        ]
        return torch.stack(told).mean(0) + self.bias

    def weights(self, node_ND: Tensor, graph: Graph) -> Tensor:
        """How much each edge's source counts for its target, (E, K), before dropout; those of one target sum to 1."""
        return self._weights(self._heads(self.of_source(node_ND)), self._heads(self.of_target(node_ND)), graph)

    def _heads(self, x_NX: Tensor) -> Tensor:
        # In single precision under autocast too: sums over many neighbours follow.
        return x_NX.float().view(-1, *self.attention.shape)

    def _weights(self, source_NKD: Tensor, target_NKD: Tensor, graph: Graph) -> Tensor:
        logit_EK: Tensor = _EdgeLogits.apply(source_NKD, target_NKD, self.attention, graph)  # type: ignore[no-untyped-call]
        target_EK = graph.target_E[:, None].expand_as(logit_EK)
        shape_NK = len(source_NKD), len(self.attention)
        highest_NK = logit_EK.new_full(shape_NK, -torch.inf).scatter_reduce(0, target_EK, logit_EK.detach(), "amax")
        weight_EK = (logit_EK - highest_NK.index_select(0, graph.target_E)).exp()
        sum_NK = weight_EK.new_zeros(shape_NK).index_add(0, graph.target_E, weight_EK)
        return weight_EK / sum_NK.index_select(0, graph.target_E)


class _EdgeLogits(torch.autograd.Function):
    """`a . leaky(source + target)` of every edge and head, (E, K).

    The sums of pairs, K D numbers an edge, stand in memory for one chunk of edges at a time and are made again for the gradient.
    """

    @staticmethod
    def forward(ctx: Any, source_NKD: Tensor, target_NKD: Tensor, attention_KD: Tensor, graph: Graph) -> Tensor:
        ctx.save_for_backward(source_NKD, target_NKD, attention_KD)
        ctx.graph = graph
        logit_EK = source_NKD.new_empty(len(graph.source_E), len(attention_KD))
        for chunk in _chunks(source_NKD, graph):
            pair_eKD = _pairs(source_NKD, target_NKD, graph, chunk)
            logit_EK[chunk] = functional.leaky_relu_(pair_eKD, _LEAKY_SLOPE).mul_(attention_KD).sum(-1)
        return logit_EK

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_EK: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        source_NKD, target_NKD, attention_KD = ctx.saved_tensors
        graph: Graph = ctx.graph
        grad_source, grad_target, grad_attention = map(torch.zeros_like, (source_NKD, target_NKD, attention_KD))
        for chunk in _chunks(source_NKD, graph):
            pair_eKD = _pairs(source_NKD, target_NKD, graph, chunk)
            # Arithmetic on the mask, for `torch.where` between two numbers is far slower on a CPU.
            slope_eKD = (pair_eKD > 0).to(pair_eKD.dtype).mul_(1 - _LEAKY_SLOPE).add_(_LEAKY_SLOPE)
            grad_eK1 = grad_EK[chunk, :, None]
            grad_attention += pair_eKD.mul_(slope_eKD).mul_(grad_eK1).sum(0)
            grad_pair_eKD = slope_eKD.mul_(attention_KD).mul_(grad_eK1)
            grad_source.index_add_(0, graph.source_E[chunk], grad_pair_eKD)
            grad_target.index_add_(0, graph.target_E[chunk], grad_pair_eKD)
        return grad_source, grad_target, grad_attention, None


def _chunks(source_NKD: Tensor, graph: Graph) -> list[slice]:
    n_bytes = _CHUNK_BYTES.get(source_NKD.device.type, _CHUNK_BYTES["cuda"])
    size = max(1, n_bytes // (source_NKD.element_size() * source_NKD[0].numel()))
    return [slice(start, start + size) for start in range(0, len(graph.source_E), size)]


def _pairs(source_NKD: Tensor, target_NKD: Tensor, graph: Graph, chunk: slice) -> Tensor:
    return source_NKD.index_select(0, graph.source_E[chunk]).add_(target_NKD.index_select(0, graph.target_E[chunk]))
