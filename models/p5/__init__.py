"""P5 with five ways of numbering items: an encoder-decoder reads the IDs of the history and writes the next item's ID."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.p5.config import P5Config


def _build(config: P5Config, catalogue: Catalogue) -> Recommender:  # noqa: ARG001 (how large the catalogue is, the IDs say)
    from recbench_models.p5.recommender import P5

    return P5(config)


PLUGIN = Plugin.from_folder(__file__, P5Config, _build)
