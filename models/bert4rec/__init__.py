"""Self-attention that looks both ways: items are hidden, and the model puts them back; to rank, one more hidden item is appended."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.bert4rec.config import BERT4RecConfig


def _build(config: BERT4RecConfig, catalogue: Catalogue) -> Recommender:
    from recbench_models.bert4rec.recommender import BERT4Rec

    return BERT4Rec(config, catalogue)


PLUGIN = Plugin.from_folder(__file__, BERT4RecConfig, _build)
