"""Targets per second of training SASRec by the way its softmax is taken: over all items, or over sampled ones.

    RECBENCH_DATA=... python benchmarks/sasrec_losses.py [--dataset sports] [--threads 2] [--batches 10] [--repeats 5] [--set KEY=VALUE]

All rows train the network of preset `tuned` with the same windows in the same batches of 1,024 targets: forward pass, backward pass, AdamW.
The rows are

    ce                softmax over all items
    slot              256 negatives of each target's own, gathered chunk by chunk
    slot, gathered    the same with one table of targets x negatives x width, as most public code does
    sequence          256 negatives that the targets of a sequence share
    batch             256 negatives that all targets of a batch share
    batch, 2048       2,048 of them

Every repeat starts from the same weights and runs the rows one after the other; the medians of the repeats are printed, by the clock and by
the time that the cores worked. On a busy machine only the latter, with --threads 1, says something.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbench.core import Interactions, SilentProgress
from recbench.core.config import parse_assignment
from recbench.core.ragged import LongArray
from recbench.data import locate, make_split, read_dataset
from recbench.nn.training import Windows, sampled_softmax
from recbench.tasks import NEXT_ITEM
from recbench_models.sasrec import PLUGIN
from recbench_models.sasrec.config import SASRecConfig
from recbench_models.sasrec.network import SASRecTraining, build_encoder

# S trained slots, I items, D width

GATHERED = "slot, gathered"
PER_SLOT = {"loss": "ssm", "negatives_from": "all", "negatives_per": "slot"}
ROWS: dict[str, dict[str, Any]] = {
    "ce": {"loss": "ce"},
    "slot": PER_SLOT,
    GATHERED: PER_SLOT,
    "sequence": {"loss": "ssm", "negatives_from": "all", "negatives_per": "sequence"},
    "batch": {"loss": "ssm", "negatives_per": "batch"},
    "batch, 2048": {"loss": "ssm", "negatives_per": "batch", "n_negatives": 2048},
}


def gathered_loss(state_SD: Tensor, item_ID: Tensor, target_S: Tensor, *_: Tensor) -> Tensor:
    negative_SK = torch.randint(len(item_ID), (len(target_S), 256))
    score_SK = torch.einsum("sd,skd->sk", state_SD, item_ID[negative_SK])
    return sampled_softmax((state_SD * item_ID[target_S]).sum(1), score_SK)


def train_part(dataset: str, data_dir: Path) -> Interactions:
    progress = SilentProgress()
    located = locate(dataset, data_dir=data_dir, home=Path.home() / ".cache" / "recbench", progress=progress, fetch=False)
    return make_split(read_dataset(located, progress), NEXT_ITEM.protocol()).train


def measure(name: str, train: Interactions, overrides: dict[str, Any], n_batches: int) -> tuple[float, float, float]:
    """Targets per second of the clock and of the cores' work, and the mean loss per target."""
    config = PLUGIN.resolve("tuned", None, {**overrides, **ROWS[name]})
    assert isinstance(config, SASRecConfig)
    windows = Windows.of(train, config.network.max_length)
    batches: list[LongArray] = windows.batches(
        bucketed=config.batch_order == "bucketed", size=config.batch_size, unit=config.batch_unit, generator=np.random.default_rng(0)
    )
    torch.manual_seed(0)
    module = SASRecTraining(build_encoder(config.network, train.n_items), config, train, windows).train()
    if name == GATHERED:
        module._loss = gathered_loss  # type: ignore[assignment]
    optimizer = torch.optim.AdamW(module.parameters(), lr=config.training.learning_rate, betas=config.training.betas, fused=True)
    total, n_total, seconds, worked = 0.0, 0, 0.0, 0.0
    for number, rows in enumerate(batches[: n_batches + 1]):
        start, start_worked = time.perf_counter(), time.process_time()
        loss, n_targets = module(rows)
        optimizer.zero_grad()
        (loss / n_targets).backward()
        optimizer.step()
        if number > 0:  # the first batch pays for memory that later ones find ready
            seconds += time.perf_counter() - start
            worked += time.process_time() - start_worked
            n_total += n_targets
            total += loss.item()
    return n_total / seconds, n_total / worked, total / n_total


def print_rows(train: Interactions, overrides: dict[str, Any], n_batches: int, repeats: int) -> None:
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ROWS}
    for _ in range(repeats):
        for name in ROWS:
            found[name].append(measure(name, train, overrides, n_batches))
    full = statistics.median(worked for _, worked, _ in found["ce"])
    for name, runs in found.items():
        clock, worked = (statistics.median(run[place] for run in runs) for place in (0, 1))
        print(
            f"{name:15} {clock:8,.0f} targets/s   {worked:8,.0f} targets per second of work, {worked / full:5.2f} x ce   "
            f"loss {runs[0][2]:.4f}"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="sports")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batches", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="a setting of the model, as network.width=128")
    options = parser.parse_args(arguments)
    if "RECBENCH_DATA" not in os.environ:
        sys.exit("RECBENCH_DATA is not set. Point it at a folder that holds NAME/interactions.parquet.")
    torch.set_num_threads(options.threads)
    overrides = dict(parse_assignment(text) for text in options.overrides)
    train = train_part(options.dataset, Path(os.environ["RECBENCH_DATA"]))
    print(f"{options.dataset}: {train.n_items:,} items, {options.threads} threads, {options.batches} batches, median of {options.repeats}")
    print_rows(train, overrides, options.batches, options.repeats)


if __name__ == "__main__":
    main()
