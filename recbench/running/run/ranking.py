"""Ranking the test users, as a stage."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recbench.core.matrix import new_matrix
from recbench.core.ranking import Queries, Rankings, View
from recbench.data import Split
from recbench.running.run.fit_context import FinalRanking, ranked
from recbench.running.run.training import TrainedModel, Trainer
from recbench.running.stages.facts import Count, Facts, Seconds
from recbench.running.stages.keys import hash_times
from recbench.running.stages.store import Stage

RANKING_STAGE = "ranking"
_FACTS_FILE, _ITEMS_FILE, _SCORES_FILE = "facts.json", "items.npy", "scores.npy"


class _RankingFacts(Facts):
    """Facts that stand beside the arrays of lists."""

    views: tuple[View, ...]
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
    """Lists of every test user in each view, from the cache or now; `reads_time`: whether the model does."""
    split, views, k = trainer.split, final.views, final.k

    def rank(folder: Path) -> None:
        queries = queries_of_test(split, views)
        shape = (len(views), len(queries), k)
        items = new_matrix(folder / _ITEMS_FILE, np.int32, shape)
        scores = new_matrix(folder / _SCORES_FILE, np.float32, shape)
        counters: dict[str, int] = {}
        start = time.perf_counter()
        for first, part in ranked(trained.recommender, queries, k, len(split.items), trainer.progress, "ranking test users"):
            rows = slice(first, first + part.items.shape[1])
            items[:, rows], scores[:, rows] = part.items, part.scores
            for name, count in part.counters.items():
                counters[name] = counters.get(name, 0) + count
        items.flush()
        scores.flush()
        _RankingFacts(views=views, counters=counters, rank_s=time.perf_counter() - start).write(folder / _FACTS_FILE)

    parts = {"training": trained.stage.key, "test": split.fingerprints.test, "k": k, "views": list(views)}
    if reads_time:
        parts["times"] = hash_times(split.test.timestamp)
    stage = trainer.store.get(RANKING_STAGE, parts, rank)
    facts = _RankingFacts.read(stage.folder / _FACTS_FILE)
    rankings = Rankings(
        views=facts.views,
        items=np.load(stage.folder / _ITEMS_FILE, mmap_mode="r"),
        scores=np.load(stage.folder / _SCORES_FILE, mmap_mode="r"),
        counters=facts.counters,
    )
    return RankedTest(rankings, facts.rank_s, stage)
