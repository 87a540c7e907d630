"""Users per second and memory to rank a million items exactly, and with what share of the plain matrix product's speed.

    python benchmarks/full_rank.py [--items 1000000] [--width 384] [--users 1000] [--k 50] [--threads 2] [--repeats 3]

Vectors and histories are generated; the vectors lie in a file that is memory-mapped, as the item vectors of a model are. Every way is a
process of its own, whose peak resident size is printed, mapped pages included. `blocks` is `recbench.nn.ranking.topk`, both views in one
pass; `faiss` is `recbench.nn.ranking.flat_index`; `product` computes the same scores in the same blocks and throws them away. The lists of
both ways are compared: a place may differ only where scores are within 1e-6 of each other.

Measured on 2026-11-27, two cores of an AMD EPYC, 2 repeats: blocks 152 users/s and 1.86 GiB, faiss 242 and 3.12, product 164.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

WAYS = ("blocks", "faiss", "product")


def write_vectors(path: Path, n: int, width: int) -> None:
    """Unit vectors, written in parts so that the parent stays small."""
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, width))
    rng = np.random.default_rng(0)
    for start in range(0, n, 50_000):
        part = rng.normal(size=(min(50_000, n - start), width)).astype(np.float32)
        out[start : start + len(part)] = part / np.linalg.norm(part, axis=1, keepdims=True)
    out.flush()


def rank(options: argparse.Namespace) -> dict[str, float]:
    """One way in this process; lists go to a file."""
    from recbench.core import Histories, Queries
    from recbench.nn.ranking.flat_index import flat_index_topk
    from recbench.nn.ranking.topk import full_catalogue_topk

    torch.set_num_threads(options.threads)
    # Copy on write: torch takes no array that cannot be written to.
    item_ID = torch.from_numpy(np.load(options.vectors, mmap_mode="c"))
    rng = np.random.default_rng(1)
    query_BD = torch.from_numpy(rng.normal(size=(options.users, options.width)).astype(np.float32))
    query_BD = torch.nn.functional.normalize(query_BD)
    histories = Histories.from_lists([rng.integers(0, options.items, 20).tolist() for _ in range(options.users)])
    ids = np.array([str(row) for row in range(options.users)], dtype=object)
    queries = Queries(histories, np.arange(options.users, dtype=np.int32), ids)
    start = time.perf_counter()
    if options.way == "product":
        for first in range(0, len(query_BD), 128):
            for item in range(0, options.items, 2**16):
                query_BD[first : first + 128] @ item_ID[item : item + 2**16].T
        seconds = time.perf_counter() - start
    else:
        found = (full_catalogue_topk if options.way == "blocks" else flat_index_topk)(query_BD, item_ID, queries, options.k)
        seconds = time.perf_counter() - start
        np.savez(options.out, items=found.items, scores=found.scores)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"seconds": seconds, "peak_bytes": float(peak)}


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, value in (("items", 1_000_000), ("width", 384), ("users", 1000), ("k", 50), ("threads", 2), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    for name in ("way", "vectors", "out"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(rank(options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        vectors = Path(folder) / "vectors.npy"
        write_vectors(vectors, options.items, options.width)
        results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(options.repeats):
            for way in WAYS:
                command = [sys.executable, __file__, "--way", way, "--vectors", str(vectors), "--out", str(Path(folder) / f"{way}.npz")]
                for name in ("items", "width", "users", "k", "threads"):
                    command += [f"--{name}", str(getattr(options, name))]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                results[way].append(json.loads(done.stdout))
        left, right = (dict(np.load(Path(folder) / f"{way}.npz")) for way in ("blocks", "faiss"))
    print(
        f"{options.items:,} items of width {options.width}, {options.users:,} users, k {options.k}, both views, {options.threads} threads"
    )
    product_s = statistics.median(result["seconds"] for result in results["product"])
    for way in WAYS:
        seconds = statistics.median(result["seconds"] for result in results[way])
        peak = max(result["peak_bytes"] for result in results[way])
        share = f", {product_s / seconds:.0%} of the product's speed" if way != "product" else ""
        print(f"{way:8} {options.users / seconds:8,.1f} users/s   peak {peak / 2**30:.2f} GiB{share}")
    differs = left["items"] != right["items"]
    apart = float(np.abs(left["scores"] - right["scores"]).max())
    print(f"{int(differs.sum())} of {differs.size} places differ between blocks and faiss; scores at most {apart:.1e} apart")


if __name__ == "__main__":
    main()
