"""Feedback neighbours."""

import numpy as np

from recbench.core import BadRequest, Catalogue, FitContext, FitReport, Interactions, Parameters, TimeKind
from recbench.nn.ranking import ItemNeighbours, binary_matrix, item_similarities
from recbench_models.feedback_knn.config import FeedbackKNNConfig


class FeedbackKNN(ItemNeighbours):
    """Scores an item by its mean similarity to the items that are shown; items of many train bundles first among equals."""

    def __init__(self, config: FeedbackKNNConfig, catalogue: Catalogue) -> None:
        super().__init__(catalogue)
        self.config = config

    def fit(self, context: FitContext) -> FitReport:
        """Compare every two items that somebody used both of; `BadRequest` where nobody used any."""
        feedback = context.feedback
        if feedback is None or not len(feedback.item):
            raise BadRequest(
                "feedback-knn compares items by the people who used them, and this data set has no such feedback. "
                "Take cobundle-knn, which reads the bundles alone."
            )
        used = Interactions(feedback.item, feedback.offsets, np.zeros(len(feedback.item), np.int64), context.train.n_items, TimeKind.NONE)
        self.similarity_II = item_similarities(binary_matrix(used), shrink=self.config.shrink, neighbours=self.config.neighbours)
        self.count_I = context.train.item_counts()
        return FitReport(parameters=Parameters(total=self.similarity_II.nnz))
