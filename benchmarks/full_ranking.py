"""Seconds and memory to rank the whole catalogue for every user of Amazon Sports, both views, from a SASRec of width 64.

    python benchmarks/full_ranking.py [--users 35598] [--items 18357] [--width 64] [--k 50] [--threads 2] [--repeats 3]

The model is untrained and the histories are generated: neither changes the work. Each repeat is a process of its own; memory is its peak
resident size minus what it held once model and queries were there. The plain matrix product is the same scores in the same blocks, each
block thrown away at once: what ranking would cost if selecting, excluding and ordering were free.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import psutil
import torch

from recbench.core import Catalogue, Histories, Queries
from recbench.nn.ranking import topk
from recbench_models.sasrec.config import NetworkSettings, SASRecConfig
from recbench_models.sasrec.recommender import SASRec


def queries_of(n_users: int, n_items: int) -> Queries:
    """Histories of Amazon Sports' lengths: 7.3 items on average before the test item, a few of hundreds."""
    rng = np.random.default_rng(0)
    lengths = np.minimum(4 + rng.geometric(1 / 3.4, n_users) - 1, 295)
    lengths[rng.random(n_users) < 0.001] = 200
    offsets = np.zeros(n_users + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    items = (n_items * rng.random(offsets[-1]) ** 3).astype(np.int32)
    ids = np.array([str(row) for row in range(n_users)], dtype=object)
    return Queries(Histories(items, offsets), np.arange(n_users, dtype=np.int32), ids)


def seconds_of(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(options: argparse.Namespace) -> dict[str, float]:
    """What one repeat finds, in this process."""
    torch.set_num_threads(options.threads)
    model = SASRec(SASRecConfig(network=NetworkSettings(width=options.width)), Catalogue(options.items, options.users))
    queries = queries_of(options.users, options.items)
    model.generate(queries.take(np.arange(min(64, options.users))), options.k)
    held = psutil.Process().memory_info().rss
    ranking_s = seconds_of(lambda: model.generate(queries, options.k))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    state_BD, item_ID = model.encode(queries), model.encoder.item_ID.detach()
    rows = topk._BLOCK_BYTES // (4 * options.items)

    def product() -> None:
        for start in range(0, len(state_BD), rows):
            state_BD[start : start + rows] @ item_ID.T

    with torch.inference_mode():
        product_s = seconds_of(product)
        topk_s = seconds_of(lambda: topk.full_catalogue_topk(state_BD, item_ID, queries, options.k))
    return {"ranking_s": ranking_s, "topk_s": topk_s, "product_s": product_s, "extra_bytes": float(peak - held)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=35_598)
    parser.add_argument("--items", type=int, default=18_357)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options)))
        return
    command = [sys.executable, __file__, "--child"]
    for name in ("users", "items", "width", "k", "threads"):
        command += [f"--{name}", str(getattr(options, name))]
    results = [json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(options.repeats)]
    middle = {key: statistics.median(result[key] for result in results) for key in results[0]}
    extra = max(result["extra_bytes"] for result in results)
    speed, product_s = options.users / middle["ranking_s"], middle["product_s"]
    shares = [product_s / middle[name] for name in ("ranking_s", "topk_s")]
    print(f"{options.users:,} users, {options.items:,} items, width {options.width}, k {options.k}, both views, {options.threads} threads")
    print(f"ranking, histories to lists   {middle['ranking_s']:6.2f} s   {speed:,.0f} users/s   (figure: under 30 s)")
    print(f"  of which top-k from states  {middle['topk_s']:6.2f} s")
    print(f"plain product, same blocks    {product_s:6.2f} s")
    print(f"share of the plain product's speed: ranking {shares[0]:.0%}, top-k alone {shares[1]:.0%}")
    print(f"memory on top of the model    {extra / 2**20:6.0f} MiB, the largest of {options.repeats}   (figure: under 1,024 MiB)")


if __name__ == "__main__":
    main()
