"""Recent popularity."""

import numpy as np
from numpy.typing import NDArray

from recbench.core import BadRequest, Catalogue, FitContext, FitReport, Interactions, Parameters, TimeKind
from recbench.nn.ranking import ItemCounts
from recbench_models.recent_popularity.config import RecentPopularityConfig

_DAY_S = 86_400


class RecentPopularity(ItemCounts):
    """Ranks items by their number of events in the last days of the train part; the user does not matter."""

    def __init__(self, config: RecentPopularityConfig, catalogue: Catalogue) -> None:
        super().__init__(catalogue)
        self.config = config

    def fit(self, context: FitContext) -> FitReport:
        """Count the events of each item in the window; `BadRequest` where times mean nothing across users."""
        if context.train.time is not TimeKind.SECONDS:
            raise BadRequest(
                f"recent-popularity needs time stamps in seconds, and this data set has time = {context.train.time.value!r}. "
                "Use popularity, or a data set with true times."
            )
        windows = self.config.candidates_days if self.config.window_days == "validation" else (self.config.window_days,)
        best, chosen = -1.0, windows[0]
        for days in windows if len(windows) > 1 else ():
            self.count_I = _count_since(context.train, days)
            result = context.validate(self)
            context.log.info("window of %d days: validation %s %.4f", days, result.metric, result.value)
            if result.value > best:
                best, chosen = result.value, days
        self.count_I = _count_since(context.train, chosen)
        return FitReport(parameters=Parameters(total=len(self.count_I)), chosen={"window_days": chosen})


def _count_since(train: Interactions, days: int) -> NDArray[np.int64]:
    """Events of each item in the last `days` days of the train part, (n_items,) int64."""
    is_recent = train.timestamp > train.timestamp.max(initial=0) - days * _DAY_S
    return np.bincount(train.item[is_recent], minlength=train.n_items).astype(np.int64)
