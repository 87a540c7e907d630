"""IDGenRec with frozen phrases (arXiv:2403.19021)."""

from recbench.core import FitContext, FitReport
from recbench.nn.blocks import CodeGenerator, CodeRecommender
from recbench_models.idgenrec.config import SCRATCH, IDGenRecConfig
from recbench_models.idgenrec.phrases import PhraseIDs, item_phrases, words


class IDGenRec(CodeRecommender):
    """Phrases -> IDs; the encoder-decoder writes the next item's phrase, a search over all phrases makes the list."""

    def __init__(self, config: IDGenRecConfig) -> None:
        self.config = config

    def fit(self, context: FitContext) -> FitReport:
        """Name the items by their phrases, and train every prefix of the train part to write the phrase of what follows."""
        ids = self._scratch(context) if self.config.backbone.name == SCRATCH else self._pretrained(context)
        report = self.generator.fit(context, self.config.training)
        report.artefacts = {**report.artefacts, "codes": ids.stage.file}
        return report

    def _scratch(self, context: FitContext) -> PhraseIDs:
        ids = item_phrases(context, words)
        self.generator = CodeGenerator(self.config.generator, ids.stage.codes, context.seed)
        return ids

    def _pretrained(self, context: FitContext) -> PhraseIDs:
        from recbench_models.idgenrec.backbone import pieces_of, refuse_other_sizes, start_from

        located = self.config.backbone.located()
        refuse_other_sizes(located.folder, self.config.generator)
        inputs = [located.folder] if located.is_known_by_content else []
        ids = item_phrases(context, pieces_of(located.folder), backbone=located.name, inputs=inputs)
        self.generator = CodeGenerator(self.config.generator, ids.stage.codes, context.seed)
        start_from(self.generator.network, located.folder, [int(piece) for piece in ids.parts])
        return ids
