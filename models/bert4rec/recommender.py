"""BERT4Rec (arXiv:1904.06690), in the form of RecBole."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recbench.core import Catalogue, FitContext, FitReport, Queries
from recbench.nn.blocks import HistoryRecommender
from recbench.nn.training import Stretches, torch_seeded, train
from recbench_models.bert4rec.config import BERT4RecConfig
from recbench_models.bert4rec.data import MaskedBatch
from recbench_models.bert4rec.network import MaskedItemEncoder, MaskedItemTraining


class BERT4Rec(HistoryRecommender[MaskedItemEncoder]):
    """Ranks items by how well they fit a hidden slot after the history."""

    def __init__(self, config: BERT4RecConfig, catalogue: Catalogue) -> None:
        self.config = config
        super().__init__(MaskedItemEncoder(config.network, catalogue.n_items))

    def fit(self, context: FitContext) -> FitReport:
        """Hide items of the train part and train the network to name them."""
        config = self.config
        with torch_seeded(context.seed, "bert4rec", "initial weights"):
            self.encoder = MaskedItemEncoder(config.network, context.train.n_items)
        cut = Stretches.tiles if config.examples == "tiles" else Stretches.prefixes
        examples = cut(context.train, config.network.max_length)
        return train(
            context,
            MaskedItemTraining(self.encoder, examples, config.mask_rate),
            batches=lambda epoch: self._batches(examples, context.generator("batches", epoch)),
            settings=config.training,
            ranker=self,
            examples_possible=int(np.maximum(context.train.lengths - 1, 0).sum()),
        )

    def _batches(self, examples: Stretches, generator: np.random.Generator) -> list[MaskedBatch]:
        """Every example once; the way of hiding is drawn for each batch."""
        config, every = self.config, np.arange(len(examples))
        rows = examples.batches(every, bucketed=config.batch_order == "bucketed", size=config.batch_size, generator=generator)
        return [MaskedBatch(part, bool(generator.random() < config.ft_ratio)) for part in rows]

    def encode(self, queries: Queries) -> Tensor:
        """The state of the slot after each history, (B, D + 1); an empty one is a hidden item alone."""
        state_BD = super().encode(queries)
        is_empty_B = torch.from_numpy(queries.histories.lengths == 0).to(state_BD.device)
        with torch.inference_mode():
            nothing = torch.zeros(1, 0, dtype=torch.long, device=state_BD.device)
            state_BD[is_empty_B] = self.encoder.last_states(nothing, nothing.sum(1))
        return state_BD

    def item_vectors(self) -> NDArray[np.float32]:
        """The items' vectors, (n_items, width), without their biases."""
        vectors: NDArray[np.float32] = self.encoder.encoder.item_ID.detach().float().cpu().numpy().copy()
        return vectors
