"""Items that the same people used as the items that are shown."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.feedback_knn.config import FeedbackKNNConfig


def _build(config: FeedbackKNNConfig, catalogue: Catalogue) -> Recommender:
    from recbench_models.feedback_knn.recommender import FeedbackKNN

    return FeedbackKNN(config, catalogue)


PLUGIN = Plugin.from_folder(__file__, FeedbackKNNConfig, _build)
