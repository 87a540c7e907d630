"""Fit, save and load of the graph heuristic."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_array

from recbench.core import BadRequest, Catalogue, FitContext, FitReport, Parameters, Queries, Rankings
from recbench.nn.text import text_vectors
from recbench_models.graph_heuristic.config import GraphHeuristicConfig
from recbench_models.graph_heuristic.graph import transition_graph
from recbench_models.graph_heuristic.likeness import TextLikeness
from recbench_models.graph_heuristic.rings import Rings
from recbench_models.graph_heuristic.walk import Walk

_FILE = "model.safetensors"

# I items, D width


class GraphHeuristic:
    """Counts which item follows which in the train part; nothing is learnt."""

    def __init__(self, config: GraphHeuristicConfig, catalogue: Catalogue) -> None:
        self.config = config
        n_items = catalogue.n_items
        self._graph: csr_array = csr_array((n_items, n_items), dtype=np.float64)
        self._count_I = np.zeros(n_items, np.int64)
        self._likeness: TextLikeness | None = None
        self._scorer = self._new_scorer()

    def fit(self, context: FitContext) -> FitReport:
        """Count the pairs and read the texts; `BadRequest` where text is weighed and there is none."""
        graph = self.config.graph
        self._graph = transition_graph(context.train, graph.gap_weights, graph.back)
        self._count_I = context.train.item_counts()
        if self.config.reads_text:
            if not context.items.has_text:
                raise BadRequest(
                    "The graph heuristic weighs neighbours by their texts, and no item of this data set has any. Take --preset no-text."
                )
            self._likeness = TextLikeness(np.array(text_vectors(context, self.config.text).vectors))
        self._scorer = self._new_scorer()
        return FitReport(parameters=Parameters(total=self._graph.nnz))

    def generate(self, queries: Queries, k: int) -> Rankings:
        """The k best items by the method of the settings."""
        return self._scorer.generate(queries, k)

    def item_vectors(self) -> NDArray[np.float32]:
        """The items' text vectors, (n_items, D), zeros where an item has no text; `BadRequest` where the settings read no text."""
        if self._likeness is None:
            raise BadRequest("The graph heuristic has item vectors only where it reads texts. Choose a preset that does, such as default.")
        return self._likeness.vector_ID

    def save(self, folder: Path) -> None:
        """Write graph, popularity and text vectors."""
        arrays = {"data": self._graph.data, "indices": self._graph.indices, "indptr": self._graph.indptr, "count": self._count_I}
        if self._likeness is not None:
            arrays["text"] = self._likeness.vector_ID
        save_file(arrays, folder / _FILE)

    def load(self, folder: Path) -> None:
        """Read graph, popularity and text vectors."""
        arrays = load_file(folder / _FILE)
        self._graph = csr_array((arrays["data"], arrays["indices"], arrays["indptr"]), shape=self._graph.shape)
        self._count_I = arrays["count"]
        self._likeness = TextLikeness(arrays["text"]) if self.config.reads_text else None
        self._scorer = self._new_scorer()

    def _new_scorer(self) -> Walk | Rings:
        if self.config.method == "walk":
            return Walk(self.config, self._graph, self._count_I, self._likeness)
        likeness = self._likeness or TextLikeness(np.zeros((len(self._count_I), 1), np.float32))
        return Rings(self.config.rings, self._graph, self._count_I, likeness)
