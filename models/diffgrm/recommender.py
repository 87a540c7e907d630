"""DiffGRM (arXiv:2510.21805)."""

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from recbench.core import BadRequest, Catalogue, FitContext, FitReport, Queries, Rankings
from recbench.core.ragged import LongArray
from recbench.nn.codes import product_codes
from recbench.nn.compute import load_weights, over_batches
from recbench.nn.text import text_vectors
from recbench.nn.training import Windows, in_random_order, length_bucketed, torch_seeded, train
from recbench_models.diffgrm.config import DiffGRMConfig
from recbench_models.diffgrm.network import DiffGRMNetwork
from recbench_models.diffgrm.partial_codes import PartialCodes
from recbench_models.diffgrm.released import released_search
from recbench_models.diffgrm.search import catalogue_search
from recbench_models.diffgrm.training import DiffGRMTraining

_FILE = "model.safetensors"
_BEAMS_AT_A_TIME = {"cpu": 1_600}
_MAX_BEAMS_AT_A_TIME = 51_200
"""Queries times beams that are searched together: enough for large products, and little memory."""


class DiffGRM:
    """Item text -> vectors -> digits; these are filled in any order. Items of one code stand in the order of their rows."""

    def __init__(self, config: DiffGRMConfig, catalogue: Catalogue) -> None:
        self.config = config
        self.network = _new_network(config, catalogue.n_items)
        self._partial_codes: PartialCodes | None = None

    def fit(self, context: FitContext) -> FitReport:
        """Make the codes and train every prefix of the train part that is long enough to fill in the digits of what follows it.

        Raises:
            BadRequest: codes were to be unique, and more items share all digits but the last than that has values; or no prefix is long
                enough.
        """
        config = self.config
        codes = product_codes(context, text_vectors(context, config.text).vectors, config.codes)
        if codes.codes.n_extra:
            raise BadRequest(
                f"codes.collisions=reassign finds no unique codes: more than {codes.codes.level_sizes[-2]} items share all digits but the "
                "last, which has so many values. Use --set codes.collisions=keep, more codes.n_digits, a larger codes.codebook_size, or "
                "codes.trained_on=all where the train part has few items."
            )
        with torch_seeded(context.seed, "diffgrm", "initial weights"):
            self.network = _new_network(config, context.train.n_items)
        self.assign(codes.codes.code.astype(np.int64))
        windows = Windows.prefixes(context.train, config.network.max_length)
        examples = np.flatnonzero(windows.length >= config.least_history)
        if not len(examples):
            raise BadRequest(
                f"No user has more than least_history={config.least_history} events in the train part, so that there is nothing to learn "
                "from. Use --set least_history=1."
            )

        def batches(epoch: int) -> list[LongArray]:
            generator = context.generator("batches", epoch)
            ones, size = np.ones(len(examples), np.int64), config.batch_size
            if config.batch_order == "random":
                parts = in_random_order(ones, size=size, unit="sequences", generator=generator)
            else:
                parts = length_bucketed(ones, windows.length[examples], size=size, unit="sequences", generator=generator)
            return [examples[part] for part in parts]

        module = DiffGRMTraining(self.network, windows, config.loss, mixes_lengths=config.batch_order == "random")
        report = train(context, module, batches=batches, settings=config.training, ranker=self, examples_possible=len(examples))
        report.artefacts = {**report.artefacts, "codes": codes.file}
        return report

    def assign(self, code_NM: LongArray) -> None:
        """Set the items' codes, (N, M) int64."""
        self.network.assign(code_NM)
        self._partial_codes = None

    def generate(self, queries: Queries, k: int) -> Rankings:
        """The k items whose digits the search likes best; scores are log-likelihoods of digits, in nats, in the best order found."""
        config, network = self.config, self.network.eval()
        device, max_length = network.code_NM.device, config.network.max_length
        codes = self._codes(device)
        newest = queries.histories.tail(max_length)
        n_beams = max(config.search.n_beams, k)
        find = catalogue_search if config.search.decode == "catalogue" else released_search

        def answer(rows: LongArray) -> Rankings:
            histories = newest.take(rows)
            with torch.inference_mode():
                item_BT = torch.from_numpy(histories.padded(network.n_items)).long().to(device)
                memory = network.encode(item_BT, torch.from_numpy(histories.lengths).to(device))
                return find(network, memory, codes, queries.histories.take(rows), k, views=queries.views, n_beams=n_beams)

        order = np.argsort(newest.lengths, kind="stable")
        at_a_time = max(1, _BEAMS_AT_A_TIME.get(device.type, _MAX_BEAMS_AT_A_TIME) // n_beams)
        parts = [order[start : start + at_a_time] for start in range(0, len(order), at_a_time)]
        shape = (len(queries.views), len(queries), k)
        items, scores = np.full(shape, -1, dtype=np.int32), np.full(shape, -np.inf, dtype=np.float32)
        counters: Counter[str] = Counter()
        for rows, found in zip(parts, over_batches(answer, parts, device), strict=True):
            items[:, rows], scores[:, rows] = found.items, found.scores
            counters.update(found.counters)
        return Rankings(queries.views, items, scores, dict(counters))

    def _codes(self, device: torch.device) -> PartialCodes:
        """The partial codes of the catalogue, made at the first question after its codes were set."""
        if self._partial_codes is None:
            network = self.network
            self._partial_codes = PartialCodes.of(network.code_NM[: network.n_items].cpu().numpy(), network.size)
        self._partial_codes = self._partial_codes.to(device)
        return self._partial_codes

    def save(self, folder: Path) -> None:
        """Write weights and codes."""
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        save_file(weights, folder / _FILE)

    def load(self, folder: Path) -> None:
        """Read weights and codes; `BadData` where they do not fit the settings."""
        load_weights(self.network.state_dict(), folder / _FILE)
        self._partial_codes = None

    def to(self, device: str) -> None:
        """Move the network."""
        self.network.to(device)


def _new_network(config: DiffGRMConfig, n_items: int) -> DiffGRMNetwork:
    return DiffGRMNetwork(config.network, n_items, config.codes.n_digits, config.codes.codebook_size)
