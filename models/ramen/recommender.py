"""RaMen (arXiv:2507.14361). What answers are tables of the items: content and graph are needed in training alone."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from recbench.core import BadRequest, Catalogue, FitContext, FitReport, Histories, Queries, Ragged, Rankings
from recbench.nn.compute import load_weights
from recbench.nn.ranking import full_catalogue_topk
from recbench.nn.text import item_content
from recbench.nn.training import torch_seeded, train
from recbench_models.ramen.config import GraphSettings, RaMenConfig
from recbench_models.ramen.graph import holds_only_sets, neighbours
from recbench_models.ramen.network import Answers, BundleReader, RaMenNetwork, RaMenTraining

# B bundles, X width of the product (twice D)

_FILE = "model.safetensors"
_READ_SLOTS = 16_384
"""Slots of bundles that are read at a time."""


class RaMen:
    """Ranks items by one inner product: the vectors of a bundle and of its hyperedges with those of the item and of its hyperedges."""

    def __init__(self, config: RaMenConfig, catalogue: Catalogue) -> None:
        self.config = config
        self.reader = BundleReader(config.network).eval()
        self.answers = Answers.zeros(config.network, catalogue.n_items)

    def fit(self, context: FitContext) -> FitReport:
        """Train every bundle of the train part to find its own items.

        Raises:
            BadRequest: the data set has neither media nor texts of the items.
        """
        config = self.config
        content = item_content(context, config.content, config.text, config.categories)
        if not content:
            raise BadRequest(
                "ramen reads media or texts of the items, and this data set has neither features nor words in "
                f"{', '.join(dict.fromkeys((*config.text.fields, *config.categories.fields)))}. Name columns that it has with "
                "--set text.fields=[...], or choose a model that reads no content."
            )
        how, graph = _graph(context, config.graph)
        with torch_seeded(context.seed, "ramen", "initial weights"):
            network = RaMenNetwork(config.network, [features.matrix for features in content.values()], graph)
        bundles = context.train.histories()
        filled = np.flatnonzero(bundles.lengths)

        def batches(epoch: int) -> list[NDArray[np.int64]]:
            order = context.generator("batches", epoch).permutation(filled)
            return [order[start : start + config.batch_size] for start in range(0, len(order), config.batch_size)]

        module = RaMenTraining(network, bundles, config.loss)
        ranker = _InTraining(network)
        report = train(context, module, batches=batches, settings=config.training, ranker=ranker, examples_possible=len(filled))
        self.reader, self.answers = network.reader, network.answers()
        report.chosen = {**report.chosen, **how}
        return report

    def generate(self, queries: Queries, k: int) -> Rankings:
        """The k items with the largest scores; an empty bundle is read as belonging to all hyperedges alike."""
        return _ranked(self.reader, self.answers, queries, k)

    def save(self, folder: Path) -> None:
        """Write the tables of items and the weights of the reader, no content and no graph."""
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in self._tensors().items()}, folder / _FILE)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote; `BadData` where it does not fit the settings."""
        load_weights(self._tensors(), folder / _FILE)

    def to(self, device: str) -> None:
        """Move tables and reader."""
        self.reader.to(device)
        self.answers = self.answers.to(device)

    def _tensors(self) -> dict[str, Tensor]:
        return self.answers.tensors() | {f"reader.{name}": tensor for name, tensor in self.reader.state_dict().items()}


class _InTraining:
    """Ranks with a network in its present state."""

    def __init__(self, network: RaMenNetwork) -> None:
        self._network = network

    def generate(self, queries: Queries, k: int) -> Rankings:
        return _ranked(self._network.reader, self._network.answers(), queries, k)


def _ranked(reader: BundleReader, answers: Answers, queries: Queries, k: int) -> Rankings:
    with torch.inference_mode():
        return full_catalogue_topk(_bundle_vectors(reader, answers, queries.histories), answers.candidate_NX, queries, k)


def _bundle_vectors(reader: BundleReader, answers: Answers, sets: Histories) -> Tensor:
    """What the candidates' vectors are multiplied with, (B, X) float32."""
    read = reader.read(sets)
    query_BX = torch.zeros(len(sets), answers.candidate_NX.shape[1], device=answers.candidate_NX.device)
    for rows in read.length_buckets(_READ_SLOTS):
        query_BX[torch.from_numpy(rows).to(query_BX.device)] = torch.cat(reader(answers.items, read.take(rows)), 1)
    return query_BX


def _graph(context: FitContext, settings: GraphSettings) -> tuple[dict[str, int | str], Ragged]:
    """How the items' neighbours were found, for the report, and the neighbours of every item."""
    bundles, n_items = context.train.histories(), context.train.n_items
    if context.feedback is None:
        source, sets, min_count = "train bundles", bundles, settings.min_bundles
    else:
        source, sets, min_count = "feedback", context.feedback, settings.min_users or _least_users(context.feedback, bundles, n_items)
    graph = neighbours(sets, n_items, min_count=min_count, max_neighbours=settings.max_neighbours)
    context.log.info(
        "graph: %d edges between %d items that share %d or more of %s", len(graph.item), np.count_nonzero(graph.lengths), min_count, source
    )
    return {"edges_from": source, "edges_min_count": min_count, "n_edges": len(graph.item)}, graph


def _least_users(feedback: Histories, bundles: Histories, n_items: int) -> int:
    return 1 if holds_only_sets(feedback, bundles, n_items) else 2
