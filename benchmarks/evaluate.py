"""Seconds from finished rankings to a record's figures and files, on generated lists.

    python benchmarks/evaluate.py [--users 35598] [--items 18357] [--k 50] [--targets 1]

The default is the size of Amazon Sports, both views.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from recbench.core import Histories, Interactions, Queries, Rankings, Targets, TimeKind
from recbench.evaluation import (
    RankTable,
    check_rankings,
    compare_with_best,
    evaluate,
    exposure_counts,
    list_diagnostics,
    per_user,
    ranks_of_targets,
    target_facts,
    tie_sensitivity,
    write_exposure,
    write_items,
    write_ranks,
    write_targets,
)
from recbench.tasks import NEXT_ITEM

Result = TypeVar("Result")


def ragged(rng: np.random.Generator, lengths: np.ndarray, n_items: int) -> tuple[np.ndarray, np.ndarray]:
    """Items of falling popularity for lists of these lengths, and their offsets."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return (n_items * rng.random(offsets[-1]) ** 3).astype(np.int32), offsets


def rankings_for(rng: np.random.Generator, histories: Histories, targets: Targets, n_items: int, k: int, hit_share: float) -> Rankings:
    """Lists of distinct items in both views; `hit_share` of the users have their first target at a random place."""
    n = len(histories)
    start, step = rng.integers(0, n_items, n), rng.integers(1, n_items // (2 * k), n)
    width = 2 * k
    candidates = ((start[:, None] + step[:, None] * np.arange(width)) % n_items).astype(np.int32)
    hit = np.flatnonzero(rng.random(n) < hit_share)
    wanted = targets.item[targets.offsets[:-1]][hit]
    is_new = ~(candidates[hit] == wanted[:, None]).any(axis=1)
    candidates[hit[is_new], rng.integers(0, k, is_new.sum())] = wanted[is_new]
    seen = np.sort(histories.row_of_entry() * n_items + histories.item)
    code = np.arange(n, dtype=np.int64)[:, None] * n_items + candidates
    is_seen = seen[np.minimum(np.searchsorted(seen, code), len(seen) - 1)] == code
    unseen = np.take_along_axis(candidates, np.argsort(is_seen, axis=1, kind="stable"), axis=1)
    left = width - is_seen.sum(axis=1)
    items = np.stack([candidates[:, :k], np.where(np.arange(k) < left[:, None], unseen[:, :k], -1)]).astype(np.int32)
    scores = -np.sort(rng.integers(0, 10_000, items.shape), axis=2).astype(np.float32)
    scores[items < 0] = -np.inf
    return Rankings(("keep", "unseen"), items, scores)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the evaluation of generated rankings.")
    parser.add_argument("--users", type=int, default=35_598)
    parser.add_argument("--items", type=int, default=18_357)
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--targets", type=int, default=1, help="Largest number of targets of a user.")
    asked = parser.parse_args()

    rng = np.random.default_rng(0)
    n_items, k = asked.items, asked.k
    histories = Histories(*ragged(rng, rng.integers(3, 13, asked.users), n_items))
    sizes = rng.integers(1, asked.targets + 1, asked.users)
    drawn = [rng.choice(n_items, size=size, replace=False) for size in sizes] if asked.targets > 1 else None
    targets = Targets.from_lists(drawn) if drawn is not None else Targets(*ragged(rng, sizes, n_items))
    train = Interactions(histories.item, histories.offsets, np.zeros(len(histories.item), np.int64), n_items, TimeKind.SECONDS)
    user_ids = np.array([f"A{row:013d}" for row in range(asked.users)], dtype=object)
    queries = Queries(histories, np.arange(asked.users, dtype=np.int32), user_ids)
    rankings = rankings_for(rng, histories, targets, n_items, k, hit_share=0.1)
    is_tied = rng.random(asked.users) < 0.3
    train_count = train.item_counts()

    seconds: dict[str, float] = {}

    def timed(what: str, work: Callable[[], Result]) -> Result:
        start = time.perf_counter()
        result = work()
        seconds[what] = time.perf_counter() - start
        return result

    timed("check_rankings", lambda: check_rankings(rankings, queries, n_items=n_items, k=k))
    rank = timed("ranks_of_targets", lambda: ranks_of_targets(rankings, targets, queries))
    facts = timed("target_facts", lambda: target_facts(train, histories, targets, queries.user, is_tied))
    exposure = timed("exposure_counts", lambda: exposure_counts(rankings, n_items))
    timed("diagnostics", lambda: (list_diagnostics(rankings), tie_sensitivity(rankings, targets, min(10, k))))
    ranks = RankTable.of_queries(queries.user, targets, rank, k)
    result = timed("evaluate", lambda: evaluate(ranks, facts, exposure, train_count, NEXT_ITEM.measures))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def write() -> list[Path]:
            return [
                write_ranks(ranks, folder / "ranks.parquet"),
                write_exposure(exposure, folder / "exposure.parquet"),
                write_targets(facts, folder),
                write_items(train_count, folder),
            ]

        kib = sum(path.stat().st_size for path in timed("write the files", write)) / 1024
    total = sum(seconds.values())
    a, b = (per_user(ranks, facts, "ndcg@10", view) for view in ranks.views)
    rows = {"one seed": a, "other": b, "three seeds": np.stack([b, np.roll(a, 1), np.roll(b, 1)])}
    pairs = timed("a board of 3 rows", lambda: compare_with_best(rows))

    main_figure = result.metrics["keep"]["ndcg@10"] if k >= 10 else None
    print(f"{asked.users:,} users, {n_items:,} items, k {k}, views {', '.join(ranks.views)}, {len(ranks):,} targets")
    for what, took in seconds.items():
        print(f"  {what:20s} {took:7.3f} s")
    print(f"  all but the board    {total:7.3f} s")
    print(f"  files                {kib:7.0f} KiB; {len(result.slices)} slices, {len(pairs)} comparisons; ndcg@10 keep {main_figure}")


if __name__ == "__main__":
    main()
