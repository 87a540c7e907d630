"""Cheap references of a run: models of the same split, computed beside every run.

A figure alone says little: 0.03 is a good NDCG@10 on one data set and below popularity on another. Models whose card says
`is_reference` are computed in seconds, kept in the cache, and counted neither in the run's cost nor in its budget.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

import recbench.evaluation as evaluation
from recbench.core.budget import Budget
from recbench.core.errors import BadRequest, RecbenchError
from recbench.core.plugin import Plugin, World
from recbench.core.ranking import Rankings, View
from recbench.core.records import ReferencePart
from recbench.registry import Registry
from recbench.running.run.fit_context import FinalRanking
from recbench.running.run.ranking import queries_of_test, rank_test
from recbench.running.run.training import Trainer
from recbench.tasks import Task

_MOST_SCORES = 5e10
"""Scores of a reference's lists beyond which they take more than a minute: such data sets go without references."""
log = logging.getLogger(__name__)


def reference_models(models: Registry[Plugin], task: Task) -> tuple[Plugin, ...]:
    """The models whose card says that they are cheap references and serve a task."""
    plugins = (row.plugin for row in models.describe() if row.plugin is not None)
    return tuple(plugin for plugin in plugins if plugin.card.is_reference and task.name in plugin.card.tasks)


def stand_beside(
    trainer: Trainer, own: str, references: Sequence[Plugin], rankings: Rankings, final: FinalRanking
) -> tuple[ReferencePart, ...]:
    """Compare the run with every reference that the data set can serve.

    Args:
        trainer: trainer of the run; references are trained on its split, on one process and without a budget.
        own: name of the run's model, which is not held against itself; empty where the lists are of no model here.
        references: models to stand beside.
        rankings: the run's lists of all test users.
        final: views and length of the lists.
    """
    n_queries, n_items = len(trainer.split.test), len(trainer.split.items)
    if n_queries * n_items > _MOST_SCORES:
        log.info("references left out: %d test queries over %d items are too many to be ranked beside the run", n_queries, n_items)
        return ()
    alone = replace(trainer, budget=Budget(), world=World(), store=trainer.store.alone(), final_ranking=None)
    values = _values_per_user(trainer, rankings)
    found: list[ReferencePart] = []
    for plugin in references:
        if plugin.card.name == own:
            continue
        try:
            found += _beside(alone, plugin, values, final)
        except BadRequest as error:
            log.info("reference %s left out: %s", plugin.card.name, error)
        except RecbenchError as error:
            log.warning("reference %s failed: %s", plugin.card.name, error)
    return tuple(found)


def _beside(trainer: Trainer, plugin: Plugin, own: Mapping[View, NDArray[np.float64]], final: FinalRanking) -> list[ReferencePart]:
    preset = plugin.default_preset("cpu", trainer.task.name)
    config = plugin.resolve(preset)
    trained = trainer.train(plugin, config, 0, None)
    tested = rank_test(trainer, trained, final, reads_time=plugin.card.reads_time)
    theirs = _values_per_user(trainer, tested.rankings)
    name = plugin.row_name(preset, config)
    return [
        ReferencePart(
            reference=name,
            model=plugin.card.name,
            view=view,
            value=float(theirs[view].mean()),
            difference=evaluation.paired_bootstrap(own[view], theirs[view], cluster=trainer.split.test.cluster),
        )
        for view in final.views
    ]


def _values_per_user(trainer: Trainer, rankings: Rankings) -> Mapping[View, NDArray[np.float64]]:
    """The main metric of each test user, (n_users,) per view."""
    task, part = trainer.task, trainer.split.test
    rank = evaluation.ranks_of_targets(rankings, part.targets, queries_of_test(trainer.split, rankings.views))
    ranks = evaluation.RankTable.of_queries(part.user, part.targets, rank, rankings.k)
    return {view: evaluation.values_of_view(ranks, view, [task.main_metric])[:, 0] for view in rankings.views}
