"""A plugin that does nothing, slowly, and leaves notes of it."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from recbench.core import Catalogue, FitReport, Plugin, PluginConfig, Queries, Rankings


class Config(PluginConfig):
    steps: int = 20
    """Tenths of a second."""
    stumbles_with_seed: int | None = None
    notes: Path | None = None
    """Folder where every attempt leaves a file, SEED-PID."""
    gate: Path | None = None
    """File for which every attempt waits once it has left its note."""


class Model:
    def __init__(self, config: Config, catalogue: Catalogue) -> None:
        self.config, self.n_items = config, catalogue.n_items

    def fit(self, context: Any) -> FitReport:
        print("what a model prints is no event")  # noqa: T201
        if self.config.notes is not None:
            (self.config.notes / f"{context.seed}-{os.getpid()}").touch()
        while self.config.gate is not None and not self.config.gate.exists():
            time.sleep(0.05)
        with context.progress.task("walking", self.config.steps) as task:
            for step in range(self.config.steps):
                if context.budget.is_spent(steps=step, examples=100 * step):
                    return FitReport(steps=step, stopped_by="budget")
                time.sleep(0.1)
                task.advance()
        if context.seed == self.config.stumbles_with_seed:
            raise RuntimeError("a stone in the way")
        return FitReport(steps=self.config.steps)

    def generate(self, queries: Queries, k: int) -> Rankings:
        items = np.empty((len(queries.views), len(queries), k), dtype=np.int32)
        for place, view in enumerate(queries.views):
            for row in range(len(queries)):
                history = set(queries.histories[row].tolist()) if view == "unseen" else set()
                items[place, row] = [item for item in range(self.n_items) if item not in history][:k]
        return Rankings(queries.views, items, -items.astype(np.float32))

    def save(self, folder: Path) -> None:
        (folder / "model.json").write_text("{}")

    def load(self, folder: Path) -> None:
        pass


PLUGIN = Plugin.from_folder(__file__, Config, Model)
