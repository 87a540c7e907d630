"""IDGenRec with frozen phrases: items are named by short phrases of words, and an encoder-decoder writes the next item's phrase."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.idgenrec.config import IDGenRecConfig


def _build(config: IDGenRecConfig, catalogue: Catalogue) -> Recommender:  # noqa: ARG001 (how large the catalogue is, the IDs say)
    from recbench_models.idgenrec.recommender import IDGenRec

    return IDGenRec(config)


PLUGIN = Plugin.from_folder(__file__, IDGenRecConfig, _build)
