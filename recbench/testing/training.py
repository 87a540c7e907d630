"""Training as a run does it, without a run around it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbench import registry
from recbench.core import Budget, Plugin, SilentProgress, World
from recbench.data import Split
from recbench.running.host.machine import Machine
from recbench.running.run.training import TrainedModel, Trainer
from recbench.running.stages.store import StageStore
from recbench.tasks import find_task


def train(
    plugin: Plugin, split: Split, home: Path, *, preset: str | None = None, overrides: Mapping[str, Any] | None = None, seed: int = 0
) -> TrainedModel:
    """The plugin trained for the first of its tasks on one CPU thread, saved and loaded again, with its stages in `home/stages`.

    Args:
        plugin: any.
        split: what to train on.
        home: a cache; a fresh one makes every stage anew.
        preset: default: `smoke`, or the CPU's default where the card has no such preset.
        overrides: settings laid over it.
        seed: of the run.
    """
    trainer = Trainer(
        task=find_task(plugin.card.tasks[0]),
        split=split,
        machine=Machine.resolve("cpu", "fp32", 1),
        store=StageStore(home / "stages"),
        progress=SilentProgress(),
        budget=Budget(),
        world=World(),
        load_plugin=registry.models().load,
    )
    name = preset or ("smoke" if "smoke" in plugin.card.presets else plugin.default_preset("cpu", plugin.card.tasks[0]))
    return trainer.train(plugin, plugin.resolve(name, None, overrides), seed, None)
