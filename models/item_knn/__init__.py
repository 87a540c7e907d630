"""Items bought by the same users as the items of the history: cosine of train columns."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.item_knn.config import ItemKNNConfig


def _build(config: ItemKNNConfig, catalogue: Catalogue) -> Recommender:
    from recbench_models.item_knn.recommender import ItemKNN

    return ItemKNN(config, catalogue)


PLUGIN = Plugin.from_folder(__file__, ItemKNNConfig, _build)
