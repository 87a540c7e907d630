"""TIGER (arXiv:2305.05065)."""

from pathlib import Path

from recbench.core import FitContext, FitReport, Queries, Rankings
from recbench.nn.blocks import CodeGenerator
from recbench.nn.codes import ItemCodes, item_codes
from recbench.nn.text import text_vectors
from recbench_models.tiger.config import TIGERConfig


class TIGER:
    """Item text -> vectors -> codes; the encoder-decoder writes the next item's code, a search over all codes makes the list."""

    def __init__(self, config: TIGERConfig) -> None:
        self.config = config
        self._generator: CodeGenerator | None = None

    def fit(self, context: FitContext) -> FitReport:
        """Make the codes, which no event shapes, and train every prefix of the train part to write the code of what follows it."""
        config = self.config
        codes = item_codes(context, text_vectors(context, config), config)
        self._generator = CodeGenerator(config, codes.codes, context.seed)
        report = self._generator.fit(context, config)
        report.artefacts = {**report.artefacts, "codes": codes.file}
        return report

    def generate(self, queries: Queries, k: int) -> Rankings:
        """The k items whose codes are the likeliest, by the search's scores."""
        return self._trained.generate(queries, k)

    def save(self, folder: Path) -> None:
        """Write codes and network."""
        self._trained.save(folder)

    def load(self, folder: Path) -> None:
        """Read codes and network."""
        self._generator = CodeGenerator.load(folder)

    def to(self, device: str) -> None:
        """Move the network."""
        self._trained.to(device)

    @property
    def codes(self) -> ItemCodes:
        """The items' codes."""
        return self._trained.codes

    @property
    def _trained(self) -> CodeGenerator:
        if self._generator is None:
            raise RuntimeError("TIGER has no codes before fit or load.")
        return self._generator
