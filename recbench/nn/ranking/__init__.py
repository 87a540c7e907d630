"""The best items of each query in the order that the harness promises, by scores or by vectors, with the history excluded."""

from typing import TYPE_CHECKING

from recbench.core.on_demand import on_demand

if TYPE_CHECKING:
    from recbench.nn.ranking.choice import best_by_validation
    from recbench.nn.ranking.counts import ItemCounts
    from recbench.nn.ranking.flat_index import flat_index_topk
    from recbench.nn.ranking.histories import binary_matrix, decayed_weights
    from recbench.nn.ranking.neighbours import ItemNeighbours, VectorNeighbours, item_similarities, mean_rows
    from recbench.nn.ranking.similarity_settings import Similarity, SimilaritySettings
    from recbench.nn.ranking.topk import full_catalogue_topk, topk_from_scores
else:
    __getattr__ = on_demand(__name__)

__all__ = [
    "ItemCounts", "ItemNeighbours", "Similarity", "SimilaritySettings", "VectorNeighbours", "best_by_validation", "binary_matrix",
    "decayed_weights", "flat_index_topk", "full_catalogue_topk", "item_similarities", "mean_rows", "topk_from_scores",
]  # fmt: skip
