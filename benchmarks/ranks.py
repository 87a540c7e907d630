"""Several processes against one: the reading of item texts and the ranking of test users, with equal results.

    RECBENCH_DATA=... python benchmarks/ranks.py [--dataset beauty] [--texts 1000] [--ranks 1,2] [--encoder minilm]

A TIGER of the preset `cpu` is trained for a few steps by one process. Then groups of processes (gloo, one thread each) encode the first
distinct titles and rank all test users with it, in lists of 50 in both views. Seconds are those of the slowest process, from a barrier to
the next, loading the encoder among them, starting Python not. The vectors of every group are compared with those of the first to the bit,
and the items of all lists.
"""

import argparse
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from recbench import registry
from recbench.core import Budget, SilentProgress, World
from recbench.data import locate, make_split, read_dataset
from recbench.nn.compute.distributed import barrier, connected, world_from_environment
from recbench.nn.text.location import locate_encoder
from recbench.nn.text.transformer import encode
from recbench.running.host.machine import Machine
from recbench.running.run.fit_context import FinalRanking
from recbench.running.run.ranking import rank_test
from recbench.running.run.training import Trainer
from recbench.running.stages.store import Collective, StageStore
from recbench.tasks import NEXT_ITEM
from recbench.testing import LightContext

_STEPS = 5


def trainer_of(options: argparse.Namespace, world: World, group: Collective | None) -> Trainer:
    """What trains and ranks."""
    progress, home = SilentProgress(), options.folder
    located = locate(options.dataset, data_dir=Path(os.environ["RECBENCH_DATA"]), home=home, progress=progress, fetch=False)
    split = make_split(read_dataset(located, progress), NEXT_ITEM.protocol())
    return Trainer(
        task=NEXT_ITEM,
        split=split,
        machine=Machine.resolve("cpu", "fp32", 1),
        store=StageStore(home / "stages") if group is None else StageStore(home / f"stages-of-{world.size}", world=group),
        progress=progress,
        budget=Budget(),
        world=world,
        load_plugin=registry.models(()).load,
    )


def measure(options: argparse.Namespace) -> None:
    """One process of a group: seconds and digests into a file of rank 0."""
    world, _ = world_from_environment()
    plugin = registry.models(()).load("tiger")
    config = plugin.resolve("cpu", None, {"training.max_steps": _STEPS, "text.encoder": "tfidf-svd"})
    facts: dict[str, float | str] = {}
    with connected(world, "cpu") as group:
        trained = trainer_of(options, World(), None).train(plugin, config, 0, None)
        trainer = trainer_of(options, world, group)
        texts = sorted({text for text in trainer.split.items.columns["title"] if text})[: options.texts]
        context = LightContext(trainer.split.train, options.folder / f"encoded-by-{world.size}", world=world)
        barrier(world)
        start = time.perf_counter()
        vectors, _ = encode(context, locate_encoder(options.encoder).folder, texts, pooling="auto", max_tokens=256, title="texts")
        barrier(world)
        facts["encoding"] = time.perf_counter() - start
        if vectors is not None:
            facts["vectors"] = hashlib.sha256(np.ascontiguousarray(vectors)).hexdigest()
        barrier(world)
        start = time.perf_counter()
        tested = rank_test(trainer, trained, FinalRanking(("keep", "unseen"), 50), reads_time=False)
        barrier(world)
        facts["ranking"] = time.perf_counter() - start
        # Scores may differ in their last bits: users of one call are sorted into batches, and those depend on who is in the call.
        facts["lists"] = hashlib.sha256(np.ascontiguousarray(tested.rankings.items)).hexdigest()
    if world.rank == 0:
        (options.folder / f"facts-{world.size}.json").write_text(json.dumps(facts), encoding="utf-8")


def run_group(options: argparse.Namespace, n_ranks: int) -> dict[str, float | str]:
    """Start a group and wait for it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(n_ranks), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, *sys.argv[1:], "--folder", str(options.folder), "--child"]
    children = [subprocess.Popen(command, env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(n_ranks)]
    codes = [child.wait() for child in children]
    if any(codes):
        sys.exit("A process failed.")
    found: dict[str, float | str] = json.loads((options.folder / f"facts-{n_ranks}.json").read_text(encoding="utf-8"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dataset", default="beauty")
    parser.add_argument("--texts", type=int, default=1_000)
    parser.add_argument("--ranks", default="1,2")
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if "RECBENCH_DATA" not in os.environ:
        sys.exit("RECBENCH_DATA is not set. Point it at a folder that holds NAME/interactions.parquet.")
    if options.child:
        measure(options)
        return
    with TemporaryDirectory() as folder:
        options.folder = Path(folder)
        found = {int(n_ranks): run_group(options, int(n_ranks)) for n_ranks in options.ranks.split(",")}
    one = found[min(found)]
    print(f"{options.dataset}: {options.texts} texts; seconds, and times as fast as {min(found)} process")
    for n_ranks, facts in found.items():
        parts = [f"{name} {facts[name]:7.1f} s, {float(one[name]) / float(facts[name]):5.2f} x" for name in ("encoding", "ranking")]
        equal = all(facts[name] == one[name] for name in ("vectors", "lists"))
        print(f"{n_ranks} processes: {'; '.join(parts)}; {'equal' if equal else 'OTHER RESULTS'}", flush=True)
        if not equal:
            sys.exit(1)


if __name__ == "__main__":
    main()
