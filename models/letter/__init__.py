"""LETTER: item codes of text that behaviour pulls together, and an encoder-decoder that writes the code of the next item."""

from recbench.core import Catalogue, Plugin, Recommender
from recbench_models.letter.config import LETTERConfig


def _build(config: LETTERConfig, catalogue: Catalogue) -> Recommender:  # noqa: ARG001 (how large the catalogue is, the codes say)
    from recbench_models.letter.recommender import LETTER

    return LETTER(config)


PLUGIN = Plugin.from_folder(__file__, LETTERConfig, _build)
