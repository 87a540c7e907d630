"""ActionPiece (arXiv:2502.13581): tokens of features that occur together, histories read in several orders of their features."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recbench.core import FitContext, FitReport, Queries, Rankings
from recbench.core.codes_file import CODES_FILE
from recbench.nn.blocks import CodeGenerator, CodeRecommender, CodeTraining, Examples
from recbench.nn.codes import product_codes
from recbench.nn.text import text_vectors
from recbench.nn.training import torch_seeded, train
from recbench_models.actionpiece.config import ActionPieceConfig
from recbench_models.actionpiece.features import feature_tokens
from recbench_models.actionpiece.merges import learn_vocabulary
from recbench_models.actionpiece.network import SegmentedSeq2Seq
from recbench_models.actionpiece.vocabulary import Vocabulary

# V views, B queries, E segmentations, W length of a list, X candidates of a query


class ActionPiece(CodeRecommender):
    """Item text -> features -> tokens across items; the encoder-decoder writes the next item's code, lists of many readings are joined."""

    def __init__(self, config: ActionPieceConfig) -> None:
        self.config = config

    def fit(self, context: FitContext) -> FitReport:
        """Make features and vocabulary, and train every prefix of the train part to write the code of what follows it."""
        folder = vocabulary_stage(context, self.config)
        vocabulary = Vocabulary.load(folder)
        self.generator = CodeGenerator(self.config.generator, vocabulary.codes(), context.seed)
        with torch_seeded(context.seed, "actionpiece", "initial weights"):
            self._read_segmented(vocabulary)
        examples = Examples(self.config.generator, context.train, context.user_ids)
        # Not `CodeGenerator.fit`, which would validate, and time the ranking, with one reading of each history.
        report = train(
            context,
            CodeTraining(self._network, examples),
            batches=lambda epoch: examples.batches(context.generator("batches", epoch)),
            settings=self.config.training,
            ranker=self,
            examples_possible=examples.n_possible,
        )
        report.artefacts = {**report.artefacts, "codes": folder / CODES_FILE}
        return report

    def generate(self, queries: Queries, k: int) -> Rankings:
        """The k items of the likeliest codes, or, where histories are read several times, those that stand high in many lists."""
        network = self._network
        if self.config.n_segmentations == 1:
            return self.generator.generate(queries, k)
        length = max(k, self.config.generator.n_beams)
        readings = []
        for number in range(self.config.n_segmentations):
            network.reading = number
            readings.append(self.generator.generate(queries, length))
        return joined(readings, k)

    def save(self, folder: Path) -> None:
        """Write vocabulary, codes and network."""
        self._network.vocabulary.save(folder)
        self.generator.save(folder)

    def load(self, folder: Path) -> None:
        """Read vocabulary, codes and network."""
        self.generator = CodeGenerator.load(folder)
        weights = self.generator.network.state_dict()
        self._read_segmented(Vocabulary.load(folder))
        self._network.load_state_dict(weights)

    @property
    def _network(self) -> SegmentedSeq2Seq:
        network = self.generator.network
        assert isinstance(network, SegmentedSeq2Seq)
        return network

    def _read_segmented(self, vocabulary: Vocabulary) -> None:
        """Give the generator a network, with weights from torch's default generator, that reads by a vocabulary."""
        settings = self.config.vocabulary
        self.generator.network = SegmentedSeq2Seq(
            self.config.generator,
            vocabulary,
            across_items=settings.across_items,
            n_readings=self.config.n_segmentations,
            seed=settings.seed,
        ).eval()


def vocabulary_stage(context: FitContext, config: ActionPieceConfig) -> Path:
    """The folder with the vocabulary of a train part and the codes of all items, made now or found.

    Raises:
        BadRequest: more items share all digits than the hash feature has values.
    """
    digits = product_codes(context, text_vectors(context, config.text).vectors, config.codes)
    settings = config.vocabulary

    def build(folder: Path) -> None:
        codes = digits.codes
        features, sizes = feature_tokens(codes.code, codes.level_sizes, settings.hash_size, settings.seed)
        vocabulary = learn_vocabulary(
            features, sizes, context.train, size=settings.size, across_items=settings.across_items, progress=context.progress
        )
        items = vocabulary.codes()
        context.log.info(
            "vocabulary: %d values of %d features, %d merges; %.2f tokens per item alone",
            vocabulary.n_values,
            vocabulary.n_features,
            len(vocabulary.parts_M2),
            items.lengths.mean(),
        )
        vocabulary.save(folder)
        items.save(folder)

    return context.stage("vocabulary", build, config=settings.model_dump(mode="json"), inputs=[digits.file])


def joined(readings: list[Rankings], k: int) -> Rankings:
    """One ranking of several of the same queries: an item's score is the sum over lists of 1 / log2(rank + 1), its ranks counted from 1.

    Args:
        readings: (V, B, W) each.
        k: length of the lists that come out.
    """
    item_VBX = np.concatenate([reading.items for reading in readings], axis=2)
    gain_W = 1 / np.log2(np.arange(readings[0].k) + 2)
    gain_VBX = np.where(item_VBX >= 0, np.tile(gain_W, len(readings)), 0.0)
    # The gains of one item side by side; each list has it once.
    order = np.argsort(item_VBX, axis=2, kind="stable")
    item_VBX, gain_VBX = np.take_along_axis(item_VBX, order, 2), np.take_along_axis(gain_VBX, order, 2)
    is_first = np.concatenate([np.ones_like(item_VBX[..., :1], dtype=bool), item_VBX[..., 1:] != item_VBX[..., :-1]], axis=2)
    total = _sums_of_runs(gain_VBX, is_first)
    score = np.where(is_first & (item_VBX >= 0), total, -np.inf).astype(np.float32)
    # Items ascend: sorting that is stable leaves the smaller row first among equal scores.
    best = np.argsort(-score, axis=2, kind="stable")[..., :k]
    score = np.take_along_axis(score, best, 2)
    items = np.where(np.isfinite(score), np.take_along_axis(item_VBX, best, 2), -1).astype(np.int32)
    counters = {name: sum(reading.counters.get(name, 0) for reading in readings) for name in readings[0].counters}
    return Rankings(readings[0].views, items, score, counters)


def _sums_of_runs(value: NDArray[np.float64], is_first: NDArray[np.bool_]) -> NDArray[np.float64]:
    """At each first place of a run along the last axis, which begins with one, the sum of the run; 0 elsewhere."""
    flat = value.ravel()
    start = np.flatnonzero(is_first)
    sums = np.zeros_like(flat)
    if len(start):
        sums[start] = np.add.reduceat(flat, start)
    return sums.reshape(value.shape)
