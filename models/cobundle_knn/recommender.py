"""Co-bundle neighbours."""

from recbench.core import Catalogue, FitContext, FitReport, Parameters
from recbench.nn.ranking import ItemNeighbours, Similarity, best_by_validation, binary_matrix, item_similarities
from recbench_models.cobundle_knn.config import CoBundleKNNConfig


class CoBundleKNN(ItemNeighbours):
    """Scores an item by its mean similarity to the items that are shown; popular items first among equals."""

    def __init__(self, config: CoBundleKNNConfig, catalogue: Catalogue) -> None:
        super().__init__(catalogue)
        self.config = config

    def fit(self, context: FitContext) -> FitReport:
        """Compare every two items that share a train bundle, by each measure that validation chooses from."""
        config = self.config
        member_BI = binary_matrix(context.train)
        self.count_I = context.train.item_counts()

        def compare(similarity: Similarity) -> None:
            self.similarity_II = item_similarities(member_BI, similarity, shrink=config.shrink, neighbours=config.neighbours)

        chosen = best_by_validation(context, self, config.similarities, compare)
        return FitReport(parameters=Parameters(total=self.similarity_II.nnz), chosen={"similarity": chosen})
