"""Ranking the test users, as a stage."""

import itertools
import logging
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recbench.core.errors import BadData, refuse_shortage
from recbench.core.matrix import new_matrix
from recbench.core.progress import Progress
from recbench.core.ranking import Queries, Rankings, View
from recbench.data import Split
from recbench.running.run.fit_context import FinalRanking, ranked
from recbench.running.run.guard import GuardedRanker
from recbench.running.run.training import TrainedModel, Trainer
from recbench.running.stages.facts import Count, Facts, Seconds
from recbench.running.stages.keys import hash_times
from recbench.running.stages.store import Stage

log = logging.getLogger(__name__)
RANKING_STAGE = "ranking"
_FACTS_FILE, _ITEMS_FILE, _SCORES_FILE, _ANSWERED_FILE = "facts.json", "items.npy", "scores.npy", "answered.json"


class _RankingFacts(Facts):
    """Facts that stand beside the arrays of lists."""

    views: tuple[View, ...]
    counters: dict[str, Count]
    rank_s: Seconds


class _Answered(Facts):
    """How many queries of a share are answered so far, and what that took."""

    queries: Count
    counters: dict[str, Count]
    rank_s: Seconds


@dataclass(frozen=True)
class RankedTest:
    """The lists of all test users.

    Attributes:
        rankings: lists of all users, memory-mapped.
        rank_s: seconds of the ranking when it was computed.
        stage: stage that holds them.
    """

    rankings: Rankings
    rank_s: float
    stage: Stage


def queries_of_test(split: Split, views: tuple[View, ...]) -> Queries:
    """Queries of the test part."""
    return split.test.queries(split.user_ids, views)


def rank_test(trainer: Trainer, trained: TrainedModel, final: FinalRanking, *, reads_time: bool) -> RankedTest:
    """Lists of every test user in each view, from the cache or now; under torchrun the ranks share the users.

    An attempt that was stopped, or lost one of its processes, is gone on with behind the calls that were finished.

    Args:
        trainer: who trained the model; all its ranks must call.
        trained: the model.
        final: views and length of the lists.
        reads_time: whether the model does.
    """
    # Here and not above: `running` is read before torch is needed.
    from recbench.nn.compute.distributed import barrier

    split, views, k, world = trainer.split, final.views, final.k, trainer.world

    def rank(folder: Path) -> None:
        queries = queries_of_test(split, views)
        ends = np.linspace(0, len(queries), world.size + 1).astype(np.int64)
        shares = [range(int(start), int(end)) for start, end in itertools.pairwise(ends)]
        partial = trainer.store.partial(RANKING_STAGE, key)
        folders = [partial / f"rank-{number}-of-{world.size}" for number in range(world.size)]
        own, mine = folders[world.rank], shares[world.rank]
        # A rank whose share was finished before a stop does not rank it again.
        if mine and not own.is_dir():
            unfinished = own.with_name(f"{own.name}.part")
            unfinished.mkdir(parents=True, exist_ok=True)
            _write_lists(unfinished, trained.recommender, queries, mine, k, len(split.items), trainer.progress)
            unfinished.rename(own)
        barrier(world)
        if world.rank == 0:
            _join(folder, [(share, part) for share, part in zip(shares, folders, strict=True) if share], (len(views), len(queries), k))

    parts = {"training": trained.stage.key, "test": split.fingerprints.test, "k": k, "views": list(views)}
    if reads_time:
        parts["times"] = hash_times(split.test.timestamp)
    key = trainer.store.key(RANKING_STAGE, parts)
    stage = trainer.store.get(RANKING_STAGE, parts, rank, together=True)
    facts = _RankingFacts.read(stage.folder / _FACTS_FILE)
    rankings = Rankings(
        views=facts.views,
        items=np.load(stage.folder / _ITEMS_FILE, mmap_mode="r"),
        scores=np.load(stage.folder / _SCORES_FILE, mmap_mode="r"),
        counters=facts.counters,
    )
    return RankedTest(rankings, facts.rank_s, stage)


def _write_lists(folder: Path, recommender: GuardedRanker, queries: Queries, rows: range, k: int, n_items: int, progress: Progress) -> None:
    """Answer these rows of the queries into a folder; after a stop the next attempt goes on behind the calls that were finished."""
    mine = queries if len(rows) == len(queries) else queries.take(np.arange(rows.start, rows.stop))
    items, scores, done = _unfinished_lists(folder, (len(queries.views), len(mine), k))
    counters: Counter[str] = Counter(done.counters)
    start = time.perf_counter() - done.rank_s
    for first, part in ranked(recommender, mine, k, n_items, progress, "ranking test users", n_done=done.queries):
        place = slice(first, first + part.items.shape[1])
        items[:, place], scores[:, place] = part.items, part.scores
        counters.update(part.counters)
        # The lists first: the mark must never be ahead of them.
        items.flush()
        scores.flush()
        done = _Answered(queries=place.stop, counters=dict(counters), rank_s=time.perf_counter() - start)
        temporary = folder / f"{_ANSWERED_FILE}.tmp"
        done.write(temporary)
        temporary.replace(folder / _ANSWERED_FILE)
    _RankingFacts(views=queries.views, counters=dict(counters), rank_s=time.perf_counter() - start).write(folder / _FACTS_FILE)


def _unfinished_lists(folder: Path, shape: tuple[int, int, int]) -> "tuple[np.memmap[Any, Any], np.memmap[Any, Any], _Answered]":
    """Items and scores, and how much of them an attempt before has written; new ones where there are none or they are damaged."""
    mark, dtypes = folder / _ANSWERED_FILE, {_ITEMS_FILE: np.int32, _SCORES_FILE: np.float32}
    if mark.is_file():
        try:
            done = _Answered.read(mark)
            items, scores = (np.load(folder / name, mmap_mode="r+", allow_pickle=False) for name in dtypes)
        except (OSError, ValueError, EOFError, BadData) as error:
            refuse_shortage(error)
            done = None
        if (
            done is not None
            and done.queries <= shape[1]
            and [(a.shape, a.dtype) for a in (items, scores)] == [(shape, np.dtype(dtype)) for dtype in dtypes.values()]
        ):
            log.info("%d of %d test users were ranked before", done.queries, shape[1])
            return items, scores, done
        log.warning("the unfinished lists in %s are damaged; ranking from the start", folder)
        mark.unlink()
    items, scores = (new_matrix(folder / name, dtype, shape) for name, dtype in dtypes.items())
    return items, scores, _Answered(queries=0, counters={}, rank_s=0.0)


def _join(folder: Path, parts: list[tuple[range, Path]], shape: tuple[int, int, int]) -> None:
    """The lists of all ranks in one folder, each share with the rows of the queries that it answers."""
    facts = [_RankingFacts.read(part / _FACTS_FILE) for _, part in parts]
    for name, dtype in ((_ITEMS_FILE, np.int32), (_SCORES_FILE, np.float32)):
        whole = new_matrix(folder / name, dtype, shape)
        for rows, part in parts:
            whole[:, rows.start : rows.stop] = np.load(part / name, mmap_mode="r")
        whole.flush()
    counters: Counter[str] = Counter()
    for fact in facts:
        counters.update(fact.counters)
    # They rank at the same time: the slowest says how long it took.
    _RankingFacts(views=facts[0].views, counters=dict(counters), rank_s=max(fact.rank_s for fact in facts)).write(folder / _FACTS_FILE)
