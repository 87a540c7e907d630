"""Self-attention that is first trained to put back hidden items, attributes and segments, then to predict the next item."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.s3rec.config import S3RecConfig


def _build(config: S3RecConfig, catalogue: Catalogue) -> Recommender:
    from recbench_models.s3rec.recommender import S3Rec

    return S3Rec(config, catalogue)


PLUGIN = Plugin.from_folder(__file__, S3RecConfig, _build)
