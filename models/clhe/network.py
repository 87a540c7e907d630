"""The network: what is known of an item to one vector, the items of a bundle to another, and what answering needs of both."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recbench.core import Features, Histories, Queries, Rankings
from recbench.nn.blocks import BundleAttention, ContentTower, ModalityFusion, padded_sets, unit_rows, xavier_linear
from recbench.nn.ranking import full_catalogue_topk
from recbench_models.clhe.config import CLHEConfig, NetworkSettings

# B bundles, T columns, N items, S items asked for, M modalities (content, id, feedback), F features, D width

_ENCODE_SLOTS = 16_384
"""Slots of bundles that are read at a time in answering."""
_PROJECTED = ("feature-dropout", "feature-noise")
"""Kinds of item views that a projection follows."""


class ItemFacts(nn.Module):
    """What is known of the items before training; moved with the network, saved nowhere.

    Args:
        content: matrices of media and texts, by name, with one row per item.
        feedback: vectors made from users' feedback; None where there is none.
        is_cold: (N,) bool, whether an item is in no train bundle.
    """

    is_cold_N: Tensor

    def __init__(self, content: Mapping[str, Features], feedback: Features | None, is_cold: NDArray[np.bool_]) -> None:
        super().__init__()
        self.widths = {name: part.matrix.shape[1] for name, part in content.items()}
        self.feedback_width = None if feedback is None else feedback.matrix.shape[1]
        for name, part in content.items():
            self._keep(f"{name}_NF", unit_rows(torch.from_numpy(np.array(part.matrix))))
            self._keep(f"has_{name}_N", torch.from_numpy(np.array(part.is_present)))
        if feedback is not None:
            self._keep("feedback_NF", torch.from_numpy(np.array(feedback.matrix)))
            self._keep("has_feedback_N", torch.from_numpy(np.array(feedback.is_present)))
        self._keep("is_cold_N", torch.from_numpy(is_cold))

    def _keep(self, name: str, values: Tensor) -> None:
        self.register_buffer(name, values, persistent=False)

    def of(self, name: str, item_S: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (S, F) of a matrix, `feedback` among them, and whether each is there, (S, 1) bool."""
        return self.get_buffer(f"{name}_NF")[item_S], self.get_buffer(f"has_{name}_N")[item_S, None]


class ItemEncoder(nn.Module):
    """Fuses content, id and feedback of an item. Initialised with torch's default generator.

    Args:
        settings: sizes, and what becomes of the ids of cold items.
        facts: of the items; read, not kept.

    Attributes:
        id_embedding: (N, D).
        missing_content: (D,), stands for the content of an item that has none.
    """

    def __init__(self, settings: NetworkSettings, facts: ItemFacts) -> None:
        super().__init__()
        width, n_items = settings.width, len(facts.is_cold_N)
        self.has_cold_ids = settings.cold_id == "keep"
        self.towers = nn.ModuleDict({name: ContentTower(n, settings.tower_hidden, width) for name, n in facts.widths.items()})
        self.feedback = None if facts.feedback_width is None else xavier_linear(facts.feedback_width, width)
        # A table, so that `training.decay_on = "matrices"` leaves it out: Adam would take steps of full size from decay alone.
        self.id_embedding = nn.Embedding(n_items, width)
        nn.init.xavier_uniform_(self.id_embedding.weight)
        self.fusion = ModalityFusion(width)
        self.missing_content = nn.Parameter(torch.randn(width) / width**0.5)

    def modalities(self, facts: ItemFacts, item_S: Tensor) -> Tensor:
        """Vectors of content, id and feedback of each item, of any length, (S, 3, D).

        Feedback that is missing is filled with content, content that is missing with a learnt vector.
        """
        content_SD = self.missing_content.new_zeros(len(item_S), len(self.missing_content))
        has_content_S1 = torch.zeros(len(item_S), 1, dtype=torch.bool, device=item_S.device)
        for name, tower in self.towers.items():
            row_SF, is_there_S1 = facts.of(name, item_S)
            content_SD = content_SD + unit_rows(tower(row_SF)).masked_fill(~is_there_S1, 0.0)
            has_content_S1 |= is_there_S1
        content_SD = torch.where(has_content_S1, content_SD, self.missing_content)
        id_SD = self.id_embedding(item_S)
        if not self.has_cold_ids:
            id_SD = torch.where(facts.is_cold_N[item_S, None], content_SD, id_SD)
        feedback_SD = content_SD
        if self.feedback is not None:
            row_SF, is_there_S1 = facts.of("feedback", item_S)
            feedback_SD = torch.where(is_there_S1, self.feedback(row_SF), content_SD)
        return torch.stack([content_SD, id_SD, feedback_SD], dim=1)

    def forward(self, facts: ItemFacts, item_S: Tensor) -> Tensor:
        """The fused vector of each item, at most of length one, (S, D)."""
        fused_SD: Tensor = self.fusion(self.modalities(facts, item_S))
        return fused_SD


class BundleRanker(nn.Module):
    """All that answering needs: the vectors of the items, and the attention that makes a bundle's vector of them.

    Attributes:
        fused_ND: (N, D), an item as part of a bundle.
        candidate_ND: (N, D), an item as the answer.
    """

    fused_ND: Tensor
    candidate_ND: Tensor

    def __init__(self, settings: NetworkSettings, n_items: int) -> None:
        super().__init__()
        self.max_items = settings.max_items
        self.attention = BundleAttention(settings.width, settings.n_layers)
        self.register_buffer("fused_ND", torch.zeros(n_items, settings.width))
        self.register_buffer("candidate_ND", torch.zeros(n_items, settings.width))

    def bundle_vectors(self, bundles: Histories) -> Tensor:
        """The vector of each bundle, (B, D) float32; zeros for one without items. Order and repeats mean nothing."""
        n_items, width = self.fused_ND.shape
        sets = _as_sets(bundles, n_items).tail(self.max_items)
        bundle_BD = self.fused_ND.new_zeros(len(sets), width)
        for rows in sets.length_buckets(_ENCODE_SLOTS):
            item_BT, is_real_BT = padded_sets(sets.take(rows), bundle_BD.device)
            bundle_BD[torch.from_numpy(rows).to(bundle_BD.device)] = self.attention(self.fused_ND[item_BT], is_real_BT)
        return bundle_BD

    def generate(self, queries: Queries, k: int) -> Rankings:
        """The k items with the largest inner products with the vector of the bundle."""
        with torch.inference_mode():
            return full_catalogue_topk(self.bundle_vectors(queries.histories), self.candidate_ND, queries, k)


class CLHENetwork(nn.Module):
    """The two encoders of items, the encoder of bundles, and the projection of item views. Initialised with torch's default generator.

    Args:
        config: settings of the model.
        facts: of the items.

    Attributes:
        items: encodes items as parts of bundles.
        candidates: encodes items as answers; with `network.tie_candidates` the same encoder.
        attention: makes a bundle's vector of those of its items.
        projection: of the vectors of items before their views are contrasted; None where the kind of views has none.
    """

    def __init__(self, config: CLHEConfig, facts: ItemFacts) -> None:
        super().__init__()
        settings = config.network
        self.settings, self.facts = settings, facts
        self.items = ItemEncoder(settings, facts)
        self.candidates = self.items if settings.tie_candidates else ItemEncoder(settings, facts)
        self.attention = BundleAttention(settings.width, settings.n_layers)
        self.attention.requires_grad_(not settings.ref_frozen_bundle_attention)
        is_projected = config.item_views.kind in _PROJECTED and config.item_views.weight > 0
        self.projection = xavier_linear(settings.width, settings.width) if is_projected else None

    @property
    def every_item_N(self) -> Tensor:  # noqa: N802
        """The rows of all items, (N,) int64."""
        return torch.arange(len(self.facts.is_cold_N), device=self.facts.is_cold_N.device)

    def ranker(self) -> BundleRanker:
        """What answers with the present weights; a copy."""
        made = BundleRanker(self.settings, len(self.facts.is_cold_N)).to(self.facts.is_cold_N.device)
        with torch.no_grad():
            made.attention.load_state_dict(self.attention.state_dict())
            made.fused_ND.copy_(self.items(self.facts, self.every_item_N))
            made.candidate_ND.copy_(self.candidates(self.facts, self.every_item_N))
        return made.eval()


def _as_sets(bundles: Histories, n_items: int) -> Histories:
    """The distinct items of each list, ascending."""
    row, item = np.divmod(np.unique(bundles.row_of_entry() * n_items + bundles.item), n_items)
    return Histories(item.astype(np.int32), np.searchsorted(row, np.arange(len(bundles) + 1)).astype(np.int64))
