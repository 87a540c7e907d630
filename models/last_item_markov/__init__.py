"""Most frequent followers of the last item; popularity where nothing followed."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.last_item_markov.config import LastItemMarkovConfig


def _build(config: LastItemMarkovConfig, catalogue: Catalogue) -> Recommender:
    from recbench_models.last_item_markov.recommender import LastItemMarkov

    return LastItemMarkov(config, catalogue)


PLUGIN = Plugin.from_folder(__file__, LastItemMarkovConfig, _build)
