"""The network: what the two encoders say about all items, what a bundle is read as, and both in training."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from recbench.core import Histories, Ragged
from recbench.core.ragged import LongArray
from recbench.nn.blocks import (
    BundleAttention,
    ContentTower,
    ModalityFusion,
    info_nce,
    padded_sets,
    set_cross_entropy,
    unit_rows,
    xavier_linear,
)
from recbench.nn.compute import Dropout, replace_linear
from recbench_models.ramen.config import LossSettings, NetworkSettings
from recbench_models.ramen.graph_attention import Graph, GraphAttention

# B bundles, S pairs of a bundle and an item, J distinct items of a batch, N items, M modalities, H hyperedges, F features, D width,
# X width of the product (twice D)

_N_MODALITIES = 2
"""Media and text."""
_MOST_ITEMS = 1 << 32


class Memberships(nn.Module):
    """How much of a row belongs to each hyperedge: a softmax over its logits, with Gumbel noise and dropout in training."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.temperature, self.is_always_noisy = settings.hyperedge_temperature, settings.ref_gumbel_in_eval
        self.dropout = Dropout(settings.hyperedge_dropout)

    def forward(self, logit: Tensor) -> Tensor:
        """(..., H), which sum to 1 outside training."""
        logit = logit.float()
        if self.training or self.is_always_noisy:
            member: Tensor = self.dropout(functional.gumbel_softmax(logit, self.temperature))
            return member
        return (logit / self.temperature).softmax(-1)


class ItemTables(NamedTuple):
    """All that an encoder knows of items, and that a bundle is read by.

    Attributes:
        fused_ND: content and identity as one vector, f.
        spread_ND: the vector that went through the graph, g.
        logit_NMH: logits over the hyperedges of each modality, y.
        edge_MHD: vectors of the hyperedges, sums of their members' graph vectors.
    """

    fused_ND: Tensor
    spread_ND: Tensor
    logit_NMH: Tensor
    edge_MHD: Tensor


class Answers(NamedTuple):
    """What is known of all items outside training: all that answers need beside the reader of bundles.

    Attributes:
        items: of the encoder on the side of bundles, with both modalities; one that the data set lacks is zero, which adds nothing.
        candidate_NX: the vectors of candidates, side by side with those of their hyperedges.
    """

    items: ItemTables
    candidate_NX: Tensor

    @classmethod
    def zeros(cls, settings: NetworkSettings, n_items: int) -> "Answers":
        """Those of nobody, of the shapes that training will give."""
        width, shape_MH = settings.width, (_N_MODALITIES, settings.n_hyperedges)
        shapes = (n_items, width), (n_items, width), (n_items, *shape_MH), (*shape_MH, width)
        return cls(ItemTables(*map(torch.zeros, shapes)), torch.zeros(n_items, 2 * width))

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name."""
        return self.items._asdict() | {"candidate_NX": self.candidate_NX}

    def to(self, device: str) -> "Answers":
        """The same on another device."""
        return Answers(ItemTables(*(tensor.to(device) for tensor in self.items)), self.candidate_NX.to(device))


class ItemEncoder(nn.Module):
    """Content, identity, graph and hyperedges of all items; there is one on the side of bundles and one on the side of candidates.

    Initialised with torch's default generator: Xavier uniform for the identities, Xavier normal for all other weights.

    Args:
        settings: sizes.
        n_items: N.
        widths: of the modalities' content vectors.
    """

    def __init__(self, settings: NetworkSettings, n_items: int, widths: Sequence[int]) -> None:
        super().__init__()
        width = settings.width
        self.residual = settings.residual
        self.towers = nn.ModuleList(ContentTower(n_features, settings.tower_hidden, width) for n_features in widths)
        self.content = nn.Sequential(xavier_linear(len(widths) * width, width), nn.ReLU(), xavier_linear(width, width))
        self.identity = nn.Embedding(n_items, width)
        self.fusion = ModalityFusion(width)
        self.node = nn.Embedding(n_items, width)
        self.layers = nn.ModuleList(GraphAttention(width, settings.n_heads, settings.attention_dropout) for _ in range(settings.n_layers))
        self.hyperedges = nn.ParameterList(nn.init.xavier_normal_(torch.empty(width, settings.n_hyperedges)) for _ in widths)
        self.memberships = Memberships(settings)
        nn.init.xavier_uniform_(self.identity.weight)
        nn.init.xavier_normal_(self.node.weight)

    def forward(self, content: Sequence[Tensor], graph: Graph) -> tuple[ItemTables, Tensor]:
        """The tables of all items, and their memberships (N, M, H).

        Args:
            content: for each modality (N, F).
            graph: of the items.
        """
        tower = [tower(matrix_NF) for tower, matrix_NF in zip(self.towers, content, strict=True)]
        fused_ND = self.fusion(torch.stack([self.content(torch.cat(tower, 1)), self.identity.weight], 1))
        logit_NMH = torch.stack([vector_ND @ hyperedge_DH for vector_ND, hyperedge_DH in zip(tower, self.hyperedges, strict=True)], 1)
        spread_ND = self.spread(graph)
        member_NMH = self.memberships(logit_NMH)
        edge_MHD = torch.einsum("nmh,nd->mhd", member_NMH, spread_ND)
        return ItemTables(fused_ND, spread_ND, logit_NMH, edge_MHD), member_NMH

    def spread(self, graph: Graph) -> Tensor:
        """The graph vectors, (N, D)."""
        first_ND = self.node.weight
        nodes = [first_ND]
        for layer in self.layers:
            nodes.append(layer(nodes[-1], graph))
        return torch.stack(nodes).mean(0) + self.residual * first_ND


class BundleReader(nn.Module):
    """Reads a bundle by the tables of its items.

    Args:
        settings: sizes and shares.
    """

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.mix, self.max_items = settings.mix_bundle, settings.max_items
        self.attention = BundleAttention(settings.width)
        self.attention.requires_grad_(not settings.ref_frozen_bundle_attn)
        self.memberships = Memberships(settings)

    def forward(self, items: ItemTables, sets: Histories) -> tuple[Tensor, Tensor]:
        """The vectors of B bundles: e by their items, and those of their hyperedges, of length one; (B, D) each.

        Args:
            items: of the encoder on the side of bundles.
            sets: B lists as `read` gives them; of one without items e is zero, and it belongs to all hyperedges alike.
        """
        device = items.fused_ND.device
        item_BT, is_real_BT = padded_sets(sets, device)
        attended_BD = self.attention(functional.embedding(item_BT, items.fused_ND), is_real_BT)
        item_S, start_B = torch.from_numpy(sets.item).to(device), torch.from_numpy(sets.offsets[:-1]).to(device, torch.int32)
        spread_BD = functional.embedding_bag(item_S, items.spread_ND, start_B, mode="mean")
        # A sum, as in the source: the larger a bundle, the surer its memberships.
        logit_BX = functional.embedding_bag(item_S, items.logit_NMH.float().flatten(1), start_B, mode="sum")
        member_BMH = self.memberships(logit_BX.view(-1, *items.logit_NMH.shape[1:]))
        return self.mix * attended_BD + (1 - self.mix) * spread_BD, unit_rows(torch.einsum("bmh,mhd->bd", member_BMH, items.edge_MHD))

    def read(self, sets: Histories) -> Histories:
        """What is read of sets: the items of each once, ascending, the first `max_items` of them."""
        row, item = np.divmod(np.unique(sets.row_of_entry() * _MOST_ITEMS + sets.item), _MOST_ITEMS)
        first = np.searchsorted(row, np.arange(len(sets)))
        is_read = np.arange(len(row)) - first[row] < self.max_items
        offsets = np.searchsorted(row[is_read], np.arange(len(sets) + 1)).astype(np.int64)
        return Histories(item[is_read].astype(np.int32), offsets)


class RaMenNetwork(nn.Module):
    """Two encoders of items with weights of their own, over one graph, and the reader of bundles.

    Args:
        settings: sizes and shares.
        content: by modality (N, F) float32, whose rows are brought to length one.
        neighbours: of each item, N lists.
    """

    def __init__(self, settings: NetworkSettings, content: Sequence[NDArray[np.float32]], neighbours: Ragged) -> None:
        super().__init__()
        n_items, widths = len(neighbours), [matrix.shape[1] for matrix in content]
        self.mix_item = settings.mix_item
        self.query = ItemEncoder(settings, n_items, widths)
        self.candidate = ItemEncoder(settings, n_items, widths)
        self.reader = BundleReader(settings)
        # What is given is not kept with the weights.
        for number, matrix in enumerate(content):
            self.register_buffer(f"content_{number}", unit_rows(torch.tensor(matrix)), persistent=False)
        for name, part in Graph.of(neighbours)._asdict().items():
            self.register_buffer(name, part, persistent=False)
        self.n_modalities = len(content)
        self._answers: Answers | None = None
        # Not in the reader, which must answer alike once it is saved and read again.
        replace_linear(self.query)
        replace_linear(self.candidate)

    def train(self, mode: bool = True) -> Self:
        """Enter or leave training; either way the weights may have changed since."""
        self._answers = None
        return super().train(mode)

    @property
    def content(self) -> list[Tensor]:
        """Content vectors by modality, (N, F) each."""
        return [self.get_buffer(f"content_{number}") for number in range(self.n_modalities)]

    @property
    def graph(self) -> Graph:
        """The items' graph."""
        return Graph(*map(self.get_buffer, Graph._fields))

    def query_tables(self) -> ItemTables:
        """What bundles are read by."""
        tables: ItemTables
        tables, _ = self.query(self.content, self.graph)
        return tables

    def candidates(self) -> tuple[Tensor, Tensor]:
        """The vectors of all items as candidates: z, and those of their hyperedges, of length one; (N, D) each."""
        tables, member_NMH = self.candidate(self.content, self.graph)
        own_ND = self.mix_item * tables.fused_ND + (1 - self.mix_item) * tables.spread_ND
        return own_ND, unit_rows(torch.einsum("nmh,mhd->nd", member_NMH, tables.edge_MHD))

    @torch.no_grad()
    def answers(self) -> Answers:
        """What all items are, for a network in evaluation; computed once until `train` or `eval` is called."""
        if self._answers is None:
            items = self.query_tables()
            n_missing = _N_MODALITIES - self.n_modalities
            logit_NMH = functional.pad(items.logit_NMH, (0, 0, 0, n_missing))
            edge_MHD = functional.pad(items.edge_MHD, (0, 0, 0, 0, 0, n_missing))
            self._answers = Answers(items._replace(logit_NMH=logit_NMH, edge_MHD=edge_MHD), torch.cat(self.candidates(), 1))
        return self._answers


class RaMenTraining(nn.Module):
    """`module(rows)` gives the loss of train bundles `rows`, times their number, and that number.

    Args:
        network: to train.
        bundles: of the train part, distinct items each.
        loss: weights of the contrastive losses.
    """

    def __init__(self, network: RaMenNetwork, bundles: Histories, loss: LossSettings) -> None:
        super().__init__()
        self.network = network
        self._bundles, self._read, self._loss = bundles, network.reader.read(bundles), loss

    def forward(self, rows: LongArray) -> tuple[Tensor, int]:
        network, loss = self.network, self._loss
        own_ND, of_edges_ND = network.candidates()
        own_BD, of_edges_BD = network.reader(network.query_tables(), self._read.take(rows))
        targets = self._bundles.take(rows)
        bundle_S, item_S = (torch.from_numpy(part).to(own_ND.device, torch.int64) for part in (targets.row_of_entry(), targets.item))
        logit_BN = own_BD @ own_ND.T + of_edges_BD @ of_edges_ND.T
        total = set_cross_entropy(logit_BN, bundle_S, item_S)
        if loss.item_weight:
            distinct_J = torch.from_numpy(np.unique(targets.item)).to(own_ND.device, torch.int64)
            total = total + loss.item_weight * info_nce(own_ND[distinct_J], of_edges_ND[distinct_J], loss.temperature)
        if loss.bundle_weight:
            total = total + loss.bundle_weight * info_nce(own_BD, of_edges_BD, loss.temperature)
        return total * len(rows), len(rows)
