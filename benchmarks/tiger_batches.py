"""Targets per second of training the encoder-decoder: all prefixes of a user in one pass, against one row per prefix.

    RECBENCH_DATA=... python benchmarks/tiger_batches.py [--dataset beauty] [--threads 1] [--users 1500] [--repeats 5]

All rows train the same network (TIGER's preset `cpu`) on the same targets of the same users, with dropout 0 so that their losses can be
compared: forward pass, backward pass, AdamW. Codes are random and unique, of the shape of TIGER's: what they mean costs no time. The rows:

    one pass per user      what preset `cpu` trains: an item's tokens see earlier items only, so one encoding serves every prefix
    row per prefix         the same attention, each prefix encoded on its own, in batches of like length: the same loss
    row per prefix, full   every token sees the whole history, as published: another model, so another loss

Every repeat starts from the same weights and runs the rows one after the other; the median of the repeats is printed.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch

from recbench.core import Interactions, SilentProgress
from recbench.core.interactions import StringArray
from recbench.core.ragged import LongArray
from recbench.data import locate, make_split, read_dataset
from recbench.nn.blocks.seq2seq.examples import CodeTraining, Examples
from recbench.nn.blocks.seq2seq.model import FIRST_CODE, CodeSeq2Seq
from recbench.nn.codes.catalogue import make_unique
from recbench.nn.training.windows import Windows, length_bucketed
from recbench.tasks import NEXT_ITEM
from recbench_models.tiger import PLUGIN
from recbench_models.tiger.config import TIGERConfig


def train_part(dataset: str, data_dir: Path, n_users: int) -> tuple[Interactions, StringArray]:
    """The train part of the first users."""
    progress = SilentProgress()
    located = locate(dataset, data_dir=data_dir, home=Path.home() / ".cache" / "recbench", progress=progress, fetch=False)
    split = make_split(read_dataset(located, progress), NEXT_ITEM.protocol())
    users = np.arange(min(n_users, split.train.n_users))
    return split.train.take(users), split.user_ids[users]


def batches_of(windows: Windows, n_targets: int) -> list[LongArray]:
    rng = np.random.default_rng(0)
    return length_bucketed(windows.n_targets, windows.length, size=n_targets, unit="targets", generator=rng)


def measure(config: TIGERConfig, train: Interactions, user_ids: StringArray, *, is_packed: bool) -> tuple[float, float]:
    """Targets per second over all batches, and the mean loss per target of the untrained network."""
    torch.manual_seed(0)
    codes = make_unique(np.random.default_rng(0).integers(0, 256, (train.n_items, 3)).astype(np.int32), (256, 256, 256))
    network = CodeSeq2Seq(config.generator, torch.from_numpy(codes.tokens(FIRST_CODE)).long(), codes.n_tokens)
    examples = Examples(config.generator, train, user_ids)
    if not is_packed:
        examples.windows = Windows.prefixes(train, config.generator.max_history)
    module = CodeTraining(network, examples).train()
    batches = batches_of(examples.windows, config.generator.batch_targets)
    with torch.no_grad():
        total = sum(module(rows)[0].item() for rows in batches)
    optimizer = torch.optim.AdamW(module.parameters(), lr=config.training.learning_rate, fused=True)
    seconds, n_total = 0.0, 0
    for number, rows in enumerate(batches):
        start = time.perf_counter()
        loss, n_targets = module(rows)
        optimizer.zero_grad()
        (loss / n_targets).backward()
        optimizer.step()
        if number > 0:  # the first batch pays for memory that later ones find ready
            seconds += time.perf_counter() - start
            n_total += n_targets
    return n_total / seconds, total / examples.n_possible


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="beauty")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--users", type=int, default=1500)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    if "RECBENCH_DATA" not in os.environ:
        sys.exit("RECBENCH_DATA is not set. Point it at a folder that holds NAME/interactions.parquet.")
    torch.set_num_threads(options.threads)
    train, user_ids = train_part(options.dataset, Path(os.environ["RECBENCH_DATA"]), options.users)
    # A limit that no history here reaches: cut off histories would be other examples in windows than in prefixes.
    longest = max(2, int(train.lengths.max()))
    shared = {"dropout": 0.0, "attention_dropout": 0.0, "max_history": longest, "windows_per_user": None}
    causal, full = (PLUGIN.resolve("cpu", None, {"generator": {**shared, "encoder_attention": kind}}) for kind in ("causal", "full"))
    assert isinstance(causal, TIGERConfig)
    assert isinstance(full, TIGERConfig)
    rows = {"one pass per user": (causal, True), "row per prefix": (causal, False), "row per prefix, full": (full, False)}

    found: dict[str, list[tuple[float, float]]] = {name: [] for name in rows}
    for _ in range(options.repeats):
        for name, (config, is_packed) in rows.items():
            found[name].append(measure(config, train, user_ids, is_packed=is_packed))
    n_targets = int(np.maximum(train.lengths - 1, 0).sum())
    print(f"{options.dataset}: {n_targets:,} targets of {train.n_users:,} users, histories of up to {longest} items")
    print(f"width {causal.generator.width}, {options.threads} threads, median of {options.repeats}")
    rate = {name: statistics.median(speed for speed, _ in runs) for name, runs in found.items()}
    for name, runs in found.items():
        print(f"{name:22}  {rate[name]:8,.0f} targets/s   {rate['one pass per user'] / rate[name]:5.2f} x   loss {runs[0][1]:.6f}")


if __name__ == "__main__":
    main()
