"""P5 with indexed items (arXiv:2305.06569)."""

from recbench.core import FitContext, FitReport
from recbench.nn.blocks import CodeGenerator, CodeRecommender
from recbench_models.p5.config import P5Config
from recbench_models.p5.item_ids import item_ids


class P5(CodeRecommender):
    """Items -> IDs; the encoder-decoder writes the next item's ID, a search over all IDs makes the list."""

    def __init__(self, config: P5Config) -> None:
        self.config = config

    def fit(self, context: FitContext) -> FitReport:
        """Number the items by the train part or their texts, and train every prefix of it to write the ID of what follows."""
        ids = item_ids(context, self.config.indexing)
        self.generator = CodeGenerator(self.config.generator, ids.codes, context.seed)
        report = self.generator.fit(context, self.config.training)
        report.artefacts = {**report.artefacts, "codes": ids.file}
        return report
