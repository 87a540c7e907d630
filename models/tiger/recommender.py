"""TIGER (arXiv:2305.05065)."""

from recbench.core import FitContext, FitReport
from recbench.nn.blocks import CodeGenerator, CodeRecommender
from recbench.nn.codes import item_codes
from recbench.nn.text import text_vectors
from recbench_models.tiger.config import TIGERConfig


class TIGER(CodeRecommender):
    """Item text -> vectors -> codes; the encoder-decoder writes the next item's code, a search over all codes makes the list."""

    def __init__(self, config: TIGERConfig) -> None:
        self.config = config

    def fit(self, context: FitContext) -> FitReport:
        """Make the codes, which no event shapes, and train every prefix of the train part to write the code of what follows it."""
        config = self.config
        codes = item_codes(context, text_vectors(context, config.text).vectors, config.codes)
        self.generator = CodeGenerator(config.generator, codes.codes, context.seed)
        report = self.generator.fit(context, config.training)
        report.artefacts = {**report.artefacts, "codes": codes.file}
        return report
