"""What ranks and exposure cannot both say: no lists give that, whatever the model."""

import numpy as np

from recbench.evaluation.exposure import TOP, Exposure
from recbench.evaluation.facts import TargetFacts
from recbench.evaluation.rank_table import RankTable


def contradictions(ranks: RankTable, exposure: Exposure, facts: TargetFacts) -> list[str]:
    """Sentences without a full stop, one per kind and view; empty where some lists give these ranks and this exposure.

    Args:
        ranks: of the targets.
        exposure: how often each item stands in a top 10.
        facts: about the same targets, row by row.
    """
    found = []
    query = np.arange(len(ranks)) if ranks.has_single_targets else np.repeat(np.arange(ranks.n_users), np.diff(ranks.offsets))
    n_queries = int(query[-1]) + 1 if len(query) else 0
    for view, rank in ranks.rank.items():
        if view == "unseen" and (rank[facts.in_history] >= 0).any():
            found.append("rank_unseen: a target that stands in the history has a place in a list without the history")
        place = query[rank >= 0] * ranks.list_length + rank[rank >= 0]
        if len(np.unique(place)) < len(place):
            found.append(f"rank_{view}: two targets of one list have the same place")
        shown = exposure.counts.get(view)
        if shown is None:
            found.append(f"rank_{view}: the exposure says nothing of this view")
            continue
        hits = np.bincount(ranks.target[(rank >= 0) & (rank < TOP)], minlength=len(shown))
        if len(hits) > len(shown) or (hits > shown).any():
            item = int((hits[: len(shown)] > shown).argmax())
            found.append(f"rank_{view}: item {item} is found in the first {TOP} of more lists than the exposure says it stands in")
        if (shown < 0).any() or int(shown.max(initial=0)) > n_queries or int(shown.sum()) > TOP * n_queries:
            found.append(f"exposure: more items are shown in {view} than {n_queries:,} lists hold")
    return found
