"""Targets per second of training SASRec on batches of like length, against the same model on batches padded to 50.

    RECBENCH_DATA=... python benchmarks/sasrec_batches.py [--dataset beauty] [--threads 2] [--batches 10] [--repeats 5]

All rows train the same network with the same windows in the same batches of 128 sequences (an even sample of one shuffled epoch), dropout 0
so that their losses can be compared: forward pass, backward pass, AdamW. The rows are

    bucketed          what recbench trains: rectangles as wide as the longest window of the batch, loss at real slots only
    padded, all slots every window padded to 50, softmax over all items at every slot, padding masked in the loss, as most public code does
    padded, gathered  every window padded to 50, recbench's loss at real slots only: what narrow rectangles alone are worth

Every repeat starts from the same weights and runs the rows one after the other; the median of the repeats is printed.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from recbench.core import Interactions, SilentProgress
from recbench.core.ragged import LongArray
from recbench.data import locate, make_split, read_dataset
from recbench.nn.training.losses import full_cross_entropy
from recbench.nn.training.windows import Windows, length_bucketed
from recbench.tasks import NEXT_ITEM
from recbench_models.sasrec import PLUGIN
from recbench_models.sasrec.config import SASRecConfig
from recbench_models.sasrec.network import SASRecTraining, build_encoder

# B sequences, T slots, I items, D width

Step = Callable[[SASRecTraining, Windows, LongArray], tuple[Tensor, int]]


def bucketed(module: SASRecTraining, _: Windows, rows: LongArray) -> tuple[Tensor, int]:
    loss, n_targets = module(rows)
    return loss, n_targets


def padded_states(module: SASRecTraining, windows: Windows, rows: LongArray) -> tuple[Tensor, Tensor]:
    """States (B, 50, D) and targets (B, 50) of windows in full-width rectangles."""
    encoder = module.encoder
    item_BT, target_BT = windows.padded(rows, encoder.n_items)
    missing = ((0, 0), (0, encoder.max_length - item_BT.shape[1]))
    item_BT = np.pad(item_BT, missing, constant_values=encoder.n_items)
    target_BT = np.pad(target_BT, missing, constant_values=-1)
    state_BTD = encoder(torch.from_numpy(item_BT), torch.from_numpy(windows.length[rows]))
    return state_BTD, torch.from_numpy(target_BT)


def padded_all_slots(module: SASRecTraining, windows: Windows, rows: LongArray) -> tuple[Tensor, int]:
    state_BTD, target_BT = padded_states(module, windows, rows)
    logit = state_BTD.flatten(0, 1) @ module.encoder.item_ID.T
    loss = functional.cross_entropy(logit, target_BT.flatten(), ignore_index=-1, reduction="sum")
    return loss, int((target_BT >= 0).sum())


def padded_gathered(module: SASRecTraining, windows: Windows, rows: LongArray) -> tuple[Tensor, int]:
    state_BTD, target_BT = padded_states(module, windows, rows)
    is_real_BT = target_BT >= 0
    target_S = target_BT[is_real_BT]
    return full_cross_entropy(state_BTD[is_real_BT], module.encoder.item_ID, target_S), len(target_S)


ROWS: dict[str, Step] = {"bucketed": bucketed, "padded, all slots": padded_all_slots, "padded, gathered": padded_gathered}


def train_part(dataset: str, data_dir: Path) -> Interactions:
    progress = SilentProgress()
    located = locate(dataset, data_dir=data_dir, home=Path.home() / ".cache" / "recbench", progress=progress, fetch=False)
    return make_split(read_dataset(located, progress), NEXT_ITEM.protocol()).train


def measure(step: Step, train: Interactions, windows: Windows, config: SASRecConfig, batches: list[LongArray]) -> tuple[float, float]:
    """Targets per second, and the mean loss per target over all batches."""
    torch.manual_seed(0)
    module = SASRecTraining(build_encoder(config.network, train.n_items), config, train, windows).train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=config.training.learning_rate, betas=config.training.betas, fused=True)
    total, n_total, seconds = 0.0, 0, 0.0
    for number, rows in enumerate(batches):
        start = time.perf_counter()
        loss, n_targets = step(module, windows, rows)
        optimizer.zero_grad()
        (loss / n_targets).backward()
        optimizer.step()
        if number > 0:  # the first batch pays for memory that later ones find ready
            seconds += time.perf_counter() - start
            n_total += n_targets
            total += loss.item()
    return n_total / seconds, total / n_total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="beauty")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batches", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="a setting of the model, as network.width=128")
    options = parser.parse_args()
    if "RECBENCH_DATA" not in os.environ:
        sys.exit("RECBENCH_DATA is not set. Point it at a folder that holds NAME/interactions.parquet.")
    torch.set_num_threads(options.threads)
    overrides = dict(text.split("=", 1) for text in options.overrides)
    changes = {"network.dropout": 0.0, "network.max_length": 50, "batch_size": 128, "batch_unit": "sequences"}
    config = PLUGIN.resolve("tuned", None, {**changes, **overrides})
    assert isinstance(config, SASRecConfig)

    train = train_part(options.dataset, Path(os.environ["RECBENCH_DATA"]))
    max_length = config.network.max_length
    windows = Windows.of(train, max_length)
    rng = np.random.default_rng(0)
    epoch = length_bucketed(windows.n_targets, windows.length, size=config.batch_size, unit=config.batch_unit, generator=rng)
    by_length = sorted(epoch, key=lambda rows: int(windows.length[rows].max()))
    # Every so many of the batches sorted by length, so that the sample has the epoch's mix of lengths; then shuffled again.
    sample = [by_length[place] for place in np.linspace(0, len(by_length) - 1, options.batches + 1).astype(int)]
    sample = [sample[place] for place in rng.permutation(len(sample))]

    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ROWS}
    for _ in range(options.repeats):
        for name, step in ROWS.items():
            found[name].append(measure(step, train, windows, config, sample))
    slots = sum(len(rows) * int(windows.length[rows].max()) for rows in epoch)
    print(
        f"{options.dataset}: {windows.n_targets.sum():,} targets in {len(windows):,} windows and {len(epoch)} batches; "
        f"{slots / windows.length.sum():.2f} slots per item bucketed, {max_length * len(windows) / windows.length.sum():.2f} padded"
    )
    print(f"width {config.network.width}, {config.network.n_layers} layers, {options.threads} threads, median of {options.repeats}")
    rate = {name: statistics.median(speed for speed, _ in runs) for name, runs in found.items()}
    for name, runs in found.items():
        print(f"{name:18}  {rate[name]:8,.0f} targets/s   {rate['bucketed'] / rate[name]:5.2f} x   loss {runs[0][1]:.6f}")


if __name__ == "__main__":
    main()
