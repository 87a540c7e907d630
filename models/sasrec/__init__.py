"""Self-attention over the history: each prefix predicts the item that follows it."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.sasrec.config import SASRecConfig


def _build(config: SASRecConfig, catalogue: Catalogue) -> Recommender:
    from recbench_models.sasrec.recommender import SASRec

    return SASRec(config, catalogue)


PLUGIN = Plugin.from_folder(__file__, SASRecConfig, _build)
