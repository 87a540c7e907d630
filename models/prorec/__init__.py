"""Text and behaviour are fused into one vector per item before it becomes a code, and distilled into the model that writes the codes."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.prorec.config import PRORecConfig


def _build(config: PRORecConfig, catalogue: Catalogue) -> Recommender:  # noqa: ARG001 (how large the catalogue is, the codes say)
    from recbench_models.prorec.recommender import PRORec

    return PRORec(config)


PLUGIN = Plugin.from_folder(__file__, PRORecConfig, _build)
