"""The guard against item vectors that become alike.

Nearly parallel vectors count as each other where false negatives are told by their cosine: all negatives are masked, loss and gradient are
0, and training never recovers. Users of the released code report it (bytedance/HLLM, issues 15 and 33).
"""

import logging
from enum import Enum

import numpy as np
import torch
from torch import Tensor

from recbench.core.ragged import LongArray
from recbench_models.hllm.config import NegativeSettings
from recbench_models.hllm.item_tower import ItemTower
from recbench_models.hllm.objective import Contrast, unit

REMEDY = (
    "Tell false negatives by their number with --set negatives.masked=id, lower item.learning_rate, or start from a pretrained item tower."
)
_SAMPLE = 256
_ALIKE_SHARE = 0.05
_WARN_SHARE, _STOP_BELOW, _LOOK_EVERY = 0.5, 2.0, 20
_TOP = (1, 5, 10, 50, 100)


def warn_of_alike_items(
    tower: ItemTower, n_items: int, negatives: NegativeSettings, generator: np.random.Generator, log: logging.Logger
) -> None:
    """Read 256 items before training, and warn where more than one pair in twenty counts as the same item."""
    some: LongArray = np.sort(generator.choice(n_items, min(_SAMPLE, n_items), replace=False))
    with torch.no_grad():
        vector_MD = unit(tower(some))
    cosine = (vector_MD @ vector_MD.T)[tuple(torch.triu_indices(len(some), len(some), 1))]
    if len(cosine) == 0:
        return
    share = float((cosine > negatives.cosine_threshold).float().mean())
    log.info(
        "%d items before training: mean cosine of two %.3f, %.2f %% above %s",
        len(some),
        cosine.mean(),
        100 * share,
        negatives.cosine_threshold,
    )
    if share > _ALIKE_SHARE and negatives.masked != "id":
        log.warning("%.0f %% of pairs of items have a cosine above %s before training: they will not count as negatives of each other. %s",
                    100 * share, negatives.cosine_threshold, REMEDY)  # fmt: skip


class Verdict(Enum):
    """Verdict of the guard, which looks at every twentieth step."""

    NOT_YET = 0
    FINE = 1
    SUSPICIOUS = 2
    """Fewer than half of the candidates count; said once."""
    COLLAPSED = 3
    """For 20 steps in a row fewer than two candidates counted at a place on average: the target and hardly anything else."""


class Watch:
    """Sees the choice among candidates at every step."""

    def __init__(self) -> None:
        self._steps: list[tuple[Tensor, Tensor, int, int]] = []
        self._has_warned = False
        self.report = ""
        """The last twenty steps in a sentence."""

    def saw(self, contrast: Contrast) -> Verdict:
        """One more step."""
        in_front = contrast.n_in_front
        hits = torch.stack([(in_front < top).sum() for top in _TOP])
        self._steps.append((contrast.n_candidates.sum(), hits, len(in_front), contrast.n_negatives))
        if len(self._steps) < _LOOK_EVERY:
            return Verdict.NOT_YET
        candidates = torch.stack([step[0] for step in self._steps]).double().cpu()
        hits_of = torch.stack([step[1] for step in self._steps]).double().cpu()
        n_places = torch.tensor([step[2] for step in self._steps], dtype=torch.float64).clamp(min=1)
        n_possible = float((n_places * torch.tensor([step[3] + 1.0 for step in self._steps])).sum() / n_places.sum())
        self._steps.clear()
        mean = float(candidates.sum() / n_places.sum())
        shares = ", ".join(f"{share:.4f} in {top}" for share, top in zip((hits_of.sum(0) / n_places.sum()).tolist(), _TOP, strict=True))
        self.report = f"{mean:.1f} of {n_possible:.1f} candidates count at a place; targets among the first: {shares}"
        if bool((candidates < _STOP_BELOW * n_places).all()):
            return Verdict.COLLAPSED
        if mean < _WARN_SHARE * n_possible and not self._has_warned:
            self._has_warned = True
            return Verdict.SUSPICIOUS
        return Verdict.FINE
