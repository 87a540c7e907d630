"""CLHE (arXiv:2310.18770)."""

from pathlib import Path

from safetensors.torch import save_file

from recbench.core import Catalogue, FitContext, FitReport, Queries, Rankings
from recbench.core.ragged import LongArray
from recbench.nn.compute import load_weights
from recbench.nn.text import item_content
from recbench.nn.training import torch_seeded, train
from recbench_models.clhe.config import CLHEConfig
from recbench_models.clhe.feedback import feedback_features
from recbench_models.clhe.network import BundleRanker, CLHENetwork, ItemFacts
from recbench_models.clhe.training import CLHETraining

_FILE = "model.safetensors"


class CLHE:
    """Ranks items by the inner product of their vector with that of the bundle.

    Attributes:
        ranker: vectors of all items and the attention within bundles.
    """

    def __init__(self, config: CLHEConfig, catalogue: Catalogue) -> None:
        self.config = config
        self.ranker = BundleRanker(config.network, catalogue.n_items).eval()

    def fit(self, context: FitContext) -> FitReport:
        """Train every bundle of the train part to predict its items."""
        config, bundles = self.config, context.train
        content = item_content(context, config.content, config.text, config.categories)
        facts = ItemFacts(content, feedback_features(context, config.feedback), bundles.item_counts() == 0)
        with torch_seeded(context.seed, "clhe", "initial weights"):
            network = CLHENetwork(config, facts)
        rows = bundles.lengths.nonzero()[0]

        def batches(epoch: int) -> list[LongArray]:
            order = context.generator("batches", epoch).permutation(rows)
            return [order[start : start + config.batch_size] for start in range(0, len(order), config.batch_size)]

        module = CLHETraining(network, config, bundles)
        report = train(context, module, batches=batches, settings=config.training, ranker=module, examples_possible=len(rows))
        self.ranker = network.ranker()
        return report

    def generate(self, queries: Queries, k: int) -> Rankings:
        """The k items with the largest scores; for a bundle without items all scores are 0, and item rows decide."""
        return self.ranker.generate(queries, k)

    def save(self, folder: Path) -> None:
        """Write the vectors of the items and the attention within bundles."""
        save_file({name: tensor.cpu().contiguous() for name, tensor in self.ranker.state_dict().items()}, folder / _FILE)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote; `BadData` where it does not fit the settings."""
        load_weights(self.ranker.state_dict(), folder / _FILE)

    def to(self, device: str) -> None:
        """Move all vectors and weights."""
        self.ranker.to(device)
