"""LETTER (arXiv:2405.07314) with the generator of TIGER."""

from functools import partial

from recbench.core import FitContext, FitReport
from recbench.nn.blocks import CodeGenerator, CodeRecommender
from recbench.nn.text import text_vectors
from recbench_models.letter.config import LETTERConfig
from recbench_models.letter.item_codes import letter_codes
from recbench_models.letter.network import TemperedTraining


class LETTER(CodeRecommender):
    """Item text and behaviour -> codes; the encoder-decoder writes the next item's code, a search over all codes makes the list."""

    def __init__(self, config: LETTERConfig) -> None:
        self.config = config

    def fit(self, context: FitContext) -> FitReport:
        """Make the codes, and train every prefix of the train part to write the code of what follows it."""
        config = self.config
        codes = letter_codes(context, text_vectors(context, config.text).vectors, config)
        self.generator = CodeGenerator(config.generator, codes.codes, context.seed)
        report = self.generator.fit(context, config.training, partial(TemperedTraining, temperature=config.temperature))
        report.artefacts = {**report.artefacts, "codes": codes.file}
        return report
