"""Models that share stages, and one of several processes that train them: `shared_stages.py OUT`, with torchrun's variables set.

`shared_stages.py OUT lists` only ranks, a few users at a time; with `lose` in its place the second process ends amid its share.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from recbench.core import (
    Budget,
    Catalogue,
    FitContext,
    FitReport,
    ModelCard,
    Plugin,
    PluginConfig,
    Queries,
    Rankings,
    SilentProgress,
    World,
)
from recbench.data import Split
from recbench.nn.compute.distributed import connected, world_from_environment
from recbench.nn.training.loop import train
from recbench.nn.training.settings import TrainingSettings
from recbench.running.host.machine import Machine
from recbench.running.run import fit_context
from recbench.running.run.fit_context import FinalRanking
from recbench.running.run.ranking import rank_test
from recbench.running.run.training import TrainedModel, Trainer
from recbench.running.stages.store import StageStore
from recbench.tasks import NEXT_ITEM
from recbench.testing import small_split

Fit = Callable[[FitContext], NDArray[np.float32]]


class NoSettings(PluginConfig):
    """Nothing to set."""


class NamesAFile(PluginConfig):
    """Settings whose meaning lies in a file."""

    path: str

    def named_files(self) -> tuple[Path, ...]:
        return (Path(self.path),)


class Holder:
    """Keeps the vectors that `fit` gives it; ranks items by their number, from that of the user on, and notes whom it ranked for."""

    def __init__(self, fit: Fit, n_items: int = 1) -> None:
        self.vectors = np.zeros((1, 1), np.float32)
        self._fit, self._n_items = fit, n_items
        self.ranked: list[int] = []

    def fit(self, context: FitContext) -> FitReport:
        self.vectors = self._fit(context)
        return FitReport()

    def generate(self, queries: Queries, k: int) -> Rankings:
        self.ranked += queries.user.tolist()
        items = ((queries.user[:, None] + np.arange(k)) % self._n_items).astype(np.int32)
        scores = -np.broadcast_to(np.arange(k, dtype=np.float32), items.shape)
        n_views = len(queries.views)
        return Rankings(queries.views, np.stack([items] * n_views), np.stack([scores] * n_views), {"sequences": len(queries)})

    def item_vectors(self) -> NDArray[np.float32]:
        return self.vectors

    def save(self, folder: Path) -> None:
        save_file({"vectors": self.vectors}, folder / "model.safetensors")

    def load(self, folder: Path) -> None:
        self.vectors = load_file(folder / "model.safetensors")["vectors"]


def plugin_of(name: str, fit: Fit, folder: Path, **card: Any) -> Plugin:
    """A model whose training is `fit`."""
    folder.mkdir(parents=True, exist_ok=True)
    default = {"cpu": "smoke", "cuda": "smoke"}
    full = ModelCard(name=name, title="t", summary="s", family="scoring", presets={"smoke": {}}, default=default, **card)

    def build(config: NoSettings, catalogue: Catalogue) -> Holder:
        return Holder(fit, catalogue.n_items)

    return Plugin(full, NoSettings, build, folder)


def trained(
    plugin: Plugin,
    split: Split,
    store: StageStore,
    world: World,
    others: Mapping[str, Plugin],
    seed: int = 0,
    config: PluginConfig | None = None,
) -> TrainedModel:
    """The model as a run trains it."""
    return trainer_of(split, store, world, others).train(plugin, config or NoSettings(), seed, None)


def trainer_of(split: Split, store: StageStore, world: World, others: Mapping[str, Plugin]) -> Trainer:
    """What trains models in a run."""
    return Trainer(
        task=NEXT_ITEM,
        split=split,
        machine=Machine.resolve("cpu", "fp32", 1),
        store=store,
        progress=SilentProgress(),
        budget=Budget(),
        world=world,
        load_plugin=others.__getitem__,
    )


def lists(plugin: Plugin, split: Split, store: StageStore, world: World) -> tuple[list[Any], dict[str, int], list[int]]:
    """The lists of all test users, the model's counters, and for whom this process ranked."""
    trainer = trainer_of(split, store, world, {})
    model = trainer.train(plugin, NoSettings(), 0, None)
    tested = rank_test(trainer, model, FinalRanking(("keep",), 3), reads_time=False)
    return tested.rankings.items.tolist(), dict(tested.rankings.counters), model.recommender.raw.ranked


class Ends(Holder):
    """Ends its process, as the system does it with one that takes too much memory, when it is asked for the second time."""

    def generate(self, queries: Queries, k: int) -> Rankings:
        if self.ranked:
            os._exit(9)
        return super().generate(queries, k)


def rank_alone(out: Path, *, is_lost: bool) -> None:
    """Ranks the test users in a group, four at a time, and notes lists and for whom this process ranked."""
    world, _ = world_from_environment()
    fit_context._QUERIES_PER_CALL = 4
    with connected(world, "cpu") as group:
        if world.rank == 0 and not (out / "split").exists():
            small_split(out)
        group.barrier()
        split, store = Split.open(out / "split"), StageStore(out / "stages", world=group)
        plugin = plugin_of("first", lambda context: np.zeros((len(context.items), 1), np.float32), out / "first", distributed=True)
        if is_lost and world.rank == 1:
            plugin = replace(plugin, build=lambda _, catalogue: Ends(lambda __: np.zeros((1, 1), np.float32), catalogue.n_items))
        facts = lists(plugin, split, store, group)
    (out / f"facts-{world.rank}.json").write_text(json.dumps(facts))


def in_a_group(*arguments: str) -> list[tuple[int, str]]:
    """Exit codes and logs of two processes of this file that work together."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    children = [
        subprocess.Popen(
            [sys.executable, __file__, *arguments],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        logs = [child.communicate(timeout=90)[1] for child in children]
    finally:
        for child in children:
            child.kill()
    return [(child.returncode, log) for child, log in zip(children, logs, strict=True)]


class Line(nn.Module):
    """Predicts a number; notes which rows it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.seen: list[int] = []

    def forward(self, rows: np.ndarray[Any, Any]) -> tuple[Tensor, int]:
        self.seen += rows.tolist()
        return ((self.weight.sum() - torch.from_numpy(rows)) ** 2).sum().float(), len(rows)


def train_line(context: FitContext) -> Line:
    """A line trained on eight rows in two steps."""
    line = Line()
    settings = TrainingSettings(max_epochs=2, learning_rate=0.1)
    train(context, line, batches=lambda epoch: [np.arange(8.0)], settings=settings)
    return line


def main(out: Path) -> None:
    world, _ = world_from_environment()
    facts: dict[str, Any] = {}

    def in_common_stage(context: FitContext) -> NDArray[np.float32]:
        def build(folder: Path) -> None:
            line = train_line(context.alone())
            (out / f"built-by-{context.world.rank}").touch()
            np.save(folder / "seen.npy", np.array(line.seen))

        folder = context.common_stage("line", build, config={})
        facts["seen alone"] = np.load(folder / "seen.npy").tolist()
        return np.zeros((len(context.items), 1), np.float32)

    def together(context: FitContext) -> NDArray[np.float32]:
        line = train_line(context)
        facts["seen together"] = line.seen
        facts["size"] = context.world.size
        return np.full((len(context.items), 2), context.world.size, np.float32)

    def from_another(context: FitContext) -> NDArray[np.float32]:
        return context.item_vectors("together")

    with connected(world, "cpu") as group:
        if world.rank == 0:
            small_split(out)
        group.barrier()
        split, store = Split.open(out / "split"), StageStore(out / "stages", world=group)
        first = plugin_of("first", in_common_stage, out / "first", distributed=True)
        second = plugin_of("together", together, out / "second", distributed=True)
        third = plugin_of("asker", from_another, out / "third", uses=("together",))
        others = {"together": second}
        facts["lineage"] = [part.name for part in trained(first, split, store, world, others).lineage]
        # `asker` shares no work: rank 0 alone trains it, and with it the other model, for which nobody else may be waited.
        facts["vectors"] = np.unique(trained(third, split, store, world, others).recommender.raw.vectors).tolist()
        facts["size alone"] = facts.get("size")
        trained(second, split, store, world, others)
        facts["lists"] = lists(first, split, store, world)
    (out / f"facts-{world.rank}.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        rank_alone(Path(sys.argv[1]), is_lost=sys.argv[2] == "lose")
    else:
        main(Path(sys.argv[1]))
