"""RPG (arXiv:2506.05781), with exact scores of all items in place of its search over a graph."""

import torch
from torch import Tensor

from recbench.core import BadRequest, Catalogue, FitContext, FitReport, Queries, Rankings
from recbench.core.ragged import LongArray
from recbench.nn.blocks import HistoryRecommender
from recbench.nn.codes import product_codes
from recbench.nn.ranking import topk_from_scores
from recbench.nn.text import text_vectors
from recbench.nn.training import Windows, torch_seeded, train_next_items
from recbench_models.rpg.config import RPGConfig
from recbench_models.rpg.network import RPGEncoder, RPGTraining


class RPG(HistoryRecommender[RPGEncoder]):
    """Ranks items by the mean log-probability of their digits; items of one code stand in the order of their rows."""

    def __init__(self, config: RPGConfig, catalogue: Catalogue) -> None:
        super().__init__(_new_encoder(config, catalogue.n_items))
        self.config = config

    def fit(self, context: FitContext) -> FitReport:
        """Make the codes and train every prefix of the train part to predict the digits of what follows it.

        Raises:
            BadRequest: codes were to be unique, and more items share all digits but the last than that has values.
        """
        config = self.config
        codes = product_codes(context, text_vectors(context, config.text).vectors, config.codes)
        if codes.codes.n_extra:
            raise BadRequest(
                f"codes.collisions=reassign finds no unique codes: more than {config.codes.codebook_size} items share all digits but the "
                "last. Use --set codes.collisions=keep, more codes.n_digits or a larger codes.codebook_size."
            )
        with torch_seeded(context.seed, "rpg", "initial weights"):
            self.encoder = _new_encoder(config, context.train.n_items)
        self.encoder.assign(codes.codes.code)
        windows = Windows.of(context.train, config.network.max_length)
        module = RPGTraining(self.encoder, windows, mixes_lengths=config.batch_order == "random")
        report = train_next_items(
            context, module, batch_size=config.batch_size, batch_unit=config.batch_unit, settings=config.training, ranker=self
        )
        report.artefacts = {**report.artefacts, "codes": codes.file}
        return report

    def generate(self, queries: Queries, k: int) -> Rankings:
        """The k items with the largest scores; after an empty history all scores are 0, and item rows decide."""
        with torch.inference_mode():
            state_BD = self.encode(queries)
            is_empty_B = torch.from_numpy(queries.histories.lengths == 0).to(state_BD.device)

            def score_block(rows: LongArray) -> Tensor:
                block = slice(int(rows[0]), int(rows[-1]) + 1)
                return self.encoder.scores(state_BD[block]).masked_fill_(is_empty_B[block, None], 0.0)

            return topk_from_scores(score_block, queries, k, self.encoder.n_items)


def _new_encoder(config: RPGConfig, n_items: int) -> RPGEncoder:
    codes = config.codes
    return RPGEncoder(config.network, n_items, codes.n_digits, codes.codebook_size)
