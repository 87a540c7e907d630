"""Category neighbours."""

import numpy as np

from recbench.core import Catalogue, FitContext, FitReport, Parameters
from recbench.nn.ranking import VectorNeighbours
from recbench.nn.text import category_vectors
from recbench_models.category_knn.config import CategoryKNNConfig


class CategoryKNN(VectorNeighbours):
    """Scores an item by the cosine between its category vector and the mean vector of the items that are shown."""

    def __init__(self, config: CategoryKNNConfig, catalogue: Catalogue) -> None:
        super().__init__(catalogue)
        self.config = config

    def fit(self, context: FitContext) -> FitReport:
        """Read the items' categories; `BadRequest` where there are none. No bundle is looked at."""
        self.vector_ID = np.array(category_vectors(context, self.config.categories))
        return FitReport(parameters=Parameters(total=self.vector_ID.size))
