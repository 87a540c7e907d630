"""A model small enough to be trained in milliseconds, and the harness's side of its training."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recbench.core import Interactions, Queries, Rankings, Validation
from recbench.core.seeds import generator
from recbench.testing import LightContext, interactions

N_USERS, N_ITEMS, WIDTH = 37, 11, 4


class TinyModel(nn.Module):
    """Next item from the last one: an embedding, dropout, a norm and a linear layer."""

    def __init__(self, dropout: float = 0.3, at_call: Mapping[int, Callable[[], None]] | None = None) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.item = nn.Embedding(N_ITEMS, WIDTH)
            self.norm = nn.LayerNorm(WIDTH)
            self.out = nn.Linear(WIDTH, N_ITEMS)
        self.dropout = nn.Dropout(dropout)
        pairs = np.random.default_rng(5).integers(0, N_ITEMS, size=N_USERS)
        self.last, self.next = torch.from_numpy(pairs), torch.from_numpy((pairs * 3 + 1) % N_ITEMS)
        self.seen: list[int] = []
        self.at_call = at_call or {}
        """What happens in which forward pass, counted from 1."""
        self.calls = 0

    def forward(self, rows: np.ndarray[Any, Any]) -> tuple[Tensor, int]:
        assert len(rows) > 0
        self.seen.extend(int(row) for row in rows)
        self.calls += 1
        index = torch.from_numpy(np.asarray(rows))
        logits = self.out(self.dropout(self.norm(self.item(self.last[index]))))
        if self.calls in self.at_call:
            self.at_call[self.calls]()
        return nn.functional.cross_entropy(logits, self.next[index], reduction="sum"), len(rows)

    def generate(self, queries: Queries, k: int) -> Rankings:
        raise NotImplementedError


def batches_of(size: int, seed: int = 3) -> Callable[[int], list[np.ndarray[Any, Any]]]:
    """All examples of an epoch in random order, cut into batches; the last one is shorter."""

    def batches(epoch: int) -> list[np.ndarray[Any, Any]]:
        order = generator(seed, "batches", epoch).permutation(N_USERS)
        return [order[start : start + size] for start in range(0, N_USERS, size)]

    return batches


@dataclass
class FakeContext(LightContext):
    """A context without events. Its validation is a script or a function of the weights; checkpoints lie in its folder itself."""

    train: Interactions = field(default_factory=lambda: interactions([[]] * N_USERS, N_ITEMS), kw_only=True)
    score: Callable[[Any], float] = lambda ranker: float(ranker.item.weight.detach().double().abs().sum())
    score_all: Callable[[Any], float] | None = None
    """Of all users, where `score` is that of a subset."""
    seed: int = 3
    rehearsal_s: float = 0.0
    """What ranking all test users will take."""
    validations: list[bool] = field(default_factory=list)
    """For each validation so far: whether it was over all users."""

    @property
    def checkpoints(self) -> Path:
        return self.folder

    def validate(self, ranker: Any, *, all_users: bool = False) -> Validation:
        self.validations.append(all_users)
        score = self.score_all if all_users and self.score_all is not None else self.score
        is_subset = self.score_all is not None and not all_users
        return Validation({"ndcg@10": score(ranker), "recall@10": 0.5}, 10 if is_subset else N_USERS, is_subset, 0.001)

    def rehearse(self, ranker: Any) -> None:
        """Set aside `rehearsal_s`, as the harness does once it has timed a ranking."""
        self.budget.ledger.reserve_s = max(self.budget.ledger.reserve_s, self.rehearsal_s)


def restless(ranker: Any) -> float:
    """A validation metric that depends on every bit of the weights and goes up and down."""
    return math.sin(1000.0 * float(ranker.item.weight.detach().double().sum()))


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Whether two modules hold the same numbers, to the bit."""
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
