"""One of two processes that share negatives: `hllm_child.py OUT`, with torchrun's variables in the environment."""

import json
import sys
from pathlib import Path
from typing import Any

import hllm_case as case
import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from recbench.core import Catalogue, World
from recbench.nn.compute.distributed import connected, world_from_environment
from recbench.testing import LightContext, interactions, queries
from recbench_models.hllm import PLUGIN, network
from recbench_models.hllm.recommender import HLLM

EVENTS = [[1, 2, 3, 4], [5, 6, 7, 8], [9, 1, 2, 10], [11, 12, 13, 14]]
ROWS_OF = [[0, 1], [2, 3]]
POOLS = [[1, 20, 21, 9], [22, 23, 5, 24]]
WORDS = ["red", "blue", "green", "old", "new", "tall", "small", "loud"]


def step(pool: list[int], rows: list[int], world: World) -> tuple[Tensor, int, dict[str, Tensor], int]:
    network.drawn = lambda n, n_items: torch.tensor(pool)  # type: ignore[assignment]
    module = case.module(case.tower(), case.config(negatives={"count": 8}), EVENTS, world=world)
    seen: list[Any] = []
    module._look_at = seen.append  # type: ignore[method-assign]
    loss, n, gradients = case.loss_and_gradients(module, rows)
    return loss, n, gradients, seen[0].n_negatives


def one_process() -> tuple[Tensor, int, dict[str, Tensor]]:
    """The whole batch and the whole pool in one process."""
    original = network.drawn
    try:
        loss, n, gradients, _ = step([item for pool in POOLS for item in pool], [row for rows in ROWS_OF for row in rows], World())
    finally:
        network.drawn = original
    return loss, n, gradients


def train(out: Path, world: World, sharding: str) -> None:
    """A whole training by both processes, with an end to end stage and one on cached vectors."""
    rng = np.random.default_rng(0)
    users = [rng.integers(0, 20, 6).tolist() for _ in range(30)]
    texts = {"title": [" ".join(rng.choice(WORDS, 3)) for _ in range(20)]}
    context = LightContext(interactions(users, 20), out / f"{sharding}-{world.rank}", texts, judge=lambda ranker: 0.0, world=world)
    changes = {
        "joint.steps": 6,
        "training.max_steps": 8,
        "training.max_epochs": 4,
        "training.validate_every_epochs": 50,
        "negatives.count": 20,
        "joint.negatives": 10,
    }
    config = PLUGIN.resolve("smoke", None, {**changes, "sharding": {"whole": "none", "spread": "full"}[sharding]})
    model = HLLM(config, Catalogue(20, 30))
    model.fit(context)
    answer = model.generate(queries(users[:8]), 10)
    np.savez(out / f"{sharding}-{world.rank}.npz", scores=answer.scores, vectors=model.item_vectors())
    if world.rank == 0:
        (out / f"saved-{sharding}").mkdir()
        model.save(out / f"saved-{sharding}")


def main(out: Path) -> None:
    world, _ = world_from_environment()
    with connected(world, "cpu"):
        for sharding in ("whole", "spread"):
            train(out, world, sharding)
        loss, n, gradients, n_negatives = step(POOLS[world.rank], ROWS_OF[world.rank], world)
        save_file(gradients, out / f"gradients-{world.rank}.safetensors")
        (out / f"facts-{world.rank}.json").write_text(json.dumps({"loss": float(loss), "n": n, "n_negatives": n_negatives}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
