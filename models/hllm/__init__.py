"""An item LLM makes vectors of items' texts, a user LLM reads the vectors of a history and points at the next one."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.hllm.config import HLLMConfig


def _build(config: HLLMConfig, catalogue: Catalogue) -> Recommender:
    from recbench_models.hllm.recommender import HLLM

    return HLLM(config, catalogue)


PLUGIN = Plugin.from_folder(__file__, HLLMConfig, _build)
