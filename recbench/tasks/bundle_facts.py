"""Facts about the targets of bundle construction, and the groups that they make."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recbench.core.interactions import Interactions
from recbench.core.ragged import Ragged
from recbench.data import Split
from recbench.data.incidence import incidence
from recbench.evaluation import Group, TargetFacts, groups_by_fact, groups_by_size, target_facts

_POPULARITY = (("cold", 0), ("once", 1), ("2-4", 4), ("5 and more", None))
"""Groups of how many train bundles hold the target, with their greatest count."""
_INPUT_SIZE = (("1", 1), ("2", 2), ("3-4", 4), ("5 and more", None))
_BUNDLE_SIZE = (("2", 2), ("3", 3), ("4-5", 5), ("6 and more", None))
_COLD_INPUT = (("all warm", 0), ("some cold", 1), ("all cold", 2))


def bundle_facts(split: Split) -> TargetFacts:
    """Facts about the test targets of a split of sets, those that only this task knows among them."""
    part = split.test
    facts = target_facts(split.train, part.histories, part.targets, part.user, None)
    sizes = part.targets.lengths
    count = split.train.item_counts()
    n_cold = np.bincount(part.histories.row_of_entry(), weights=count[part.histories.item] == 0, minlength=len(part))
    coldness = np.where(n_cold == 0, 0, np.where(n_cold == part.histories.lengths, 2, 1))
    of_task = {
        "bundle_size": np.repeat(part.histories.lengths + sizes, sizes).astype(np.int32),
        "met_before": _met_before(split.train, part.histories, part.targets),
        "input_coldness": np.repeat(coldness, sizes).astype(np.int32),
    }
    if part.cluster is not None:
        of_task["session"] = np.repeat(part.cluster, sizes).astype(np.int32)
    return replace(facts, follows_last=None, of_task=of_task)


def _met_before(train: Interactions, inputs: Ragged, targets: Ragged) -> NDArray[np.bool_]:
    """Whether each target stands in a train bundle together with an item that is shown, (n_targets,) bool."""
    bundles = incidence(train, train.n_items)
    met = sparse.csr_matrix((incidence(inputs, train.n_items) @ bundles.T) @ bundles)
    found: NDArray[np.bool_] = np.asarray(met[targets.row_of_entry(), targets.item]).ravel() > 0
    return found


def bundle_groups(facts: TargetFacts) -> Iterator[Group]:
    """Popular or rare targets, large or small inputs and bundles, targets met with an input before; those that have a target."""
    found = [
        *groups_by_size("target popularity", facts.target_count, _POPULARITY),
        *groups_by_fact("target in a train bundle", facts.target_count > 0, "warm", "cold"),
        *groups_by_size("input size", facts.history_length, _INPUT_SIZE),
        *groups_by_size("bundle size", facts.of_task["bundle_size"], _BUNDLE_SIZE),
        *groups_by_fact("target and input together in train", facts.of_task["met_before"], "met", "never"),
        *groups_by_size("input", facts.of_task["input_coldness"], _COLD_INPUT),
    ]
    yield from (group for group in found if group.rows.any())
