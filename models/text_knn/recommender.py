"""Text neighbours."""

import numpy as np

from recbench.core import Catalogue, FitContext, FitReport, Parameters
from recbench.nn.ranking import VectorNeighbours
from recbench.nn.text import text_vectors
from recbench_models.text_knn.config import TextKNNConfig


class TextKNN(VectorNeighbours):
    """Scores an item by the cosine between its text vector and the mean vector of the history."""

    def __init__(self, config: TextKNNConfig, catalogue: Catalogue) -> None:
        super().__init__(catalogue)
        self.config = config

    def fit(self, context: FitContext) -> FitReport:
        """Read the items' texts; `BadRequest` where none of the fields holds any. No event is looked at."""
        self.vector_ID = np.array(text_vectors(context, self.config.text).vectors)
        return FitReport(parameters=Parameters(total=self.vector_ID.size))
