"""Items whose text is like the text of the history: what content alone gives."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.text_knn.config import TextKNNConfig


def _build(config: TextKNNConfig, catalogue: Catalogue) -> Recommender:
    from recbench_models.text_knn.recommender import TextKNN

    return TextKNN(config, catalogue)


PLUGIN = Plugin.from_folder(__file__, TextKNNConfig, _build)
