"""Items whose categories are like those of the items that are shown."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.category_knn.config import CategoryKNNConfig


def _build(config: CategoryKNNConfig, catalogue: Catalogue) -> Recommender:
    from recbench_models.category_knn.recommender import CategoryKNN

    return CategoryKNN(config, catalogue)


PLUGIN = Plugin.from_folder(__file__, CategoryKNNConfig, _build)
