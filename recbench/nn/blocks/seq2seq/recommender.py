"""A recommender that answers by a `CodeGenerator`."""

from pathlib import Path

from recbench.core import Queries, Rankings
from recbench.nn.blocks.seq2seq.generator import CodeGenerator


class CodeRecommender:
    """All of a recommender but `fit`, which a model adds: it makes item codes and trains a generator over them."""

    _generator: CodeGenerator | None = None

    @property
    def generator(self) -> CodeGenerator:
        """Codes and network, which `fit` or `load` has set."""
        if self._generator is None:
            raise RuntimeError(f"{type(self).__name__} has no codes before fit or load.")
        return self._generator

    @generator.setter
    def generator(self, generator: CodeGenerator) -> None:
        self._generator = generator

    def generate(self, queries: Queries, k: int) -> Rankings:
        """The k items whose codes are the likeliest, by the search's scores."""
        return self.generator.generate(queries, k)

    def save(self, folder: Path) -> None:
        """Write codes and network."""
        self.generator.save(folder)

    def load(self, folder: Path) -> None:
        """Read codes and network."""
        self.generator = CodeGenerator.load(folder)

    def to(self, device: str) -> None:
        """Move the network."""
        self.generator.to(device)
