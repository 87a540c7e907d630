"""S3-Rec (arXiv:2008.07873)."""

from dataclasses import replace

import numpy as np

from recbench.core import Catalogue, FitContext, FitReport
from recbench.core.ragged import LongArray
from recbench.nn.blocks import HistoryRecommender, SequenceEncoder, post_norm_encoder
from recbench.nn.text import item_attributes
from recbench.nn.training import NextItemLossSettings, NextItemTraining, Stretches, Windows, joined, torch_seeded, train, train_next_items
from recbench_models.s3rec.config import S3RecConfig
from recbench_models.s3rec.network import Pretraining, PretrainTasks


class S3Rec(HistoryRecommender[SequenceEncoder]):
    """Ranks items by the inner product of their vector with the state of the newest item of the history."""

    def __init__(self, config: S3RecConfig, catalogue: Catalogue) -> None:
        self.config = config
        super().__init__(post_norm_encoder(catalogue.n_items, config.network, has_mask=True))

    def fit(self, context: FitContext) -> FitReport:
        """Pre-train on hidden items, attributes and segments, then train every prefix to predict what follows it."""
        config = self.config
        with torch_seeded(context.seed, "s3rec", "initial weights"):
            self.encoder = post_norm_encoder(context.train.n_items, config.network, has_mask=True)
        windows = Windows.newest(context.train, config.network.max_length)
        # Made first: it refuses users who leave no negative to either training.
        finetuning = NextItemTraining(
            self.encoder, NextItemLossSettings(loss="bce"), context.train, windows, mixes_lengths=config.batch_order == "random"
        )
        first, budget = None, context.budget
        if config.pretrain.epochs:
            first = self._pretrain(context)
            budget = budget.without(steps=first.steps, examples=first.examples_seen)
        second = train_next_items(
            context,
            finetuning,
            batch_size=config.batch_size,
            batch_unit="sequences",
            settings=config.training,
            ranker=self,
            name="finetune",
            budget=budget,
        )
        # Examples are those of fine-tuning: whether it saw every target is what the mark `undertrained` says.
        return second if first is None else replace(joined(first, second), examples_seen=second.examples_seen)

    def _pretrain(self, context: FitContext) -> FitReport:
        """Train the encoder with attention in both directions; afterwards it is causal again."""
        settings, encoder = self.config.pretrain, self.encoder
        attributes = item_attributes(context.items, self.config.attributes, context.log)
        sequences = context.train.histories().tail(self.config.network.max_length)
        examples = Stretches.prefixes(sequences, self.config.network.max_length)
        with torch_seeded(context.seed, "s3rec", "weights of the tasks"):
            tasks = PretrainTasks(self.config.network.width, attributes.joined(), len(attributes.values), settings.pair_loss)

        def batches(epoch: int) -> list[LongArray]:
            generator = context.generator("pretrain batches", epoch)
            drawn = examples.one_per_user(generator) if settings.examples == "one-per-user" else np.arange(len(examples))
            return examples.batches(drawn, bucketed=settings.batch_order == "bucketed", size=settings.batch_size, generator=generator)

        encoder.causal = False
        report = train(
            context,
            Pretraining(encoder, tasks, settings, examples),
            batches=batches,
            settings=settings.training(self.config.training),
            examples_possible=len(examples),
            name="pretrain",
            budget=context.budget.part(settings.budget_share),
        )
        encoder.causal = True
        context.log.info("pre-training ended after %d steps and %.1f passes (%s)", report.steps, report.epochs, report.stopped_by)
        return report
