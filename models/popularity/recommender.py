"""Popularity."""

from recbench.core import FitContext, FitReport, Parameters
from recbench.nn.ranking import ItemCounts


class Popularity(ItemCounts):
    """Ranks items by their number of events in the train part; the user does not matter."""

    def fit(self, context: FitContext) -> FitReport:
        """Count the events of each item."""
        self.count_I = context.train.item_counts()
        return FitReport(parameters=Parameters(total=len(self.count_I)))
