"""LC-Rec: a causal language model learns item codes as new words and writes the code of the next item."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.lc_rec.config import LCRecConfig


def _build(config: LCRecConfig, catalogue: Catalogue) -> Recommender:  # noqa: ARG001 (how large the catalogue is, the codes say)
    from recbench_models.lc_rec.recommender import LCRec

    return LCRec(config)


PLUGIN = Plugin.from_folder(__file__, LCRecConfig, _build)
