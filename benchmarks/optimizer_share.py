"""The share of a training step that AdamW takes by moving the vectors of all items, and how many of them the step had a gradient for.

    python benchmarks/optimizer_share.py [--items 100000,1000000] [--batches 1024,32768] [--negatives 256] [--threads 1] [--repeats 5]

SASRec of width 64 as preset `tuned`, but with the sampled softmax, whose negatives are drawn uniformly for each slot; 20 items for each
of as many random users as two batches have targets for. A step is that of the training loop: gradients away, forward, backward, division by
the number of targets, AdamW. The parts are timed within the same steps, in milliseconds of processor time; the median counts, after one
step that does not. `scaling` is the division, which reads and writes the gradients of all items once more.
"""

import argparse
import statistics
import time

import numpy as np
import torch

from recbench import registry
from recbench.nn.training import Windows
from recbench.nn.training.optimizer import make_optimizer
from recbench.testing import interactions
from recbench_models.sasrec.network import SASRecTraining, build_encoder

LENGTH = 20
PARTS = ("forward and backward", "scaling", "AdamW")


def measure(n_items: int, batch: int, options: argparse.Namespace) -> None:
    """Time some steps, and print a row."""
    rng = np.random.default_rng(0)
    rows = -(-batch // (LENGTH - 1))
    train = interactions(rng.integers(0, n_items, (2 * rows, LENGTH)).tolist(), n_items)
    changes = {"loss": "ssm", "n_negatives": options.negatives, "negatives_per": "slot", "negatives_from": "all"}
    config = registry.models(()).load("sasrec").resolve("tuned", None, changes)
    torch.manual_seed(0)
    module = SASRecTraining(build_encoder(config.network, n_items), config, train, Windows.of(train, config.network.max_length)).train()
    optimizer = make_optimizer(module, config.training)
    found: dict[str, list[float]] = {part: [] for part in PARTS}
    for _ in range(options.repeats + 1):
        optimizer.zero_grad(set_to_none=True)
        clock = [time.process_time()]
        loss, n_targets = module(rng.choice(2 * rows, rows, replace=False))
        loss.backward()
        clock.append(time.process_time())
        for parameter in module.parameters():
            assert parameter.grad is not None
            parameter.grad.div_(n_targets)
        clock.append(time.process_time())
        optimizer.step()
        clock.append(time.process_time())
        for part, seconds in zip(PARTS, np.diff(clock), strict=True):
            found[part].append(1e3 * float(seconds))
    gradient = module.encoder.item_embedding.weight.grad
    touched = float((gradient[:n_items] != 0).any(1).float().mean())
    ms = {part: statistics.median(values[1:]) for part, values in found.items()}
    total = sum(ms.values())
    parts = "   ".join(f"{part} {value:8.1f} ms {value / total:4.0%}" for part, value in ms.items())
    print(f"{n_items:9,} items, {n_targets:6,} targets: {parts}   {touched:4.0%} of items with a gradient", flush=True)


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=numbers, default=[100_000, 1_000_000])
    parser.add_argument("--batches", type=numbers, default=[1_024, 32_768], help="targets of a step")
    parser.add_argument("--negatives", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for n_items in options.items:
        for batch in options.batches:
            measure(n_items, batch, options)


if __name__ == "__main__":
    main()
