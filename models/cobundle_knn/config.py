"""Settings of cobundle-knn."""

from recbench.nn.ranking import SimilaritySettings


class CoBundleKNNConfig(SimilaritySettings):
    """How two items are compared by the train bundles that hold both."""
