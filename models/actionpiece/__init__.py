"""ActionPiece: items are sets of features, and tokens stand for features that occur together inside items and across neighbours."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.actionpiece.config import ActionPieceConfig


def _build(config: ActionPieceConfig, catalogue: Catalogue) -> Recommender:  # noqa: ARG001 (how large the catalogue is, the codes say)
    from recbench_models.actionpiece.recommender import ActionPiece

    return ActionPiece(config)


PLUGIN = Plugin.from_folder(__file__, ActionPieceConfig, _build)
"""ActionPiece (arXiv:2502.13581), with a search over the codes of items that exist."""
