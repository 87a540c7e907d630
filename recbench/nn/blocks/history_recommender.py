"""A recommender that reads a history into one vector and ranks all items by their inner products with it."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from recbench.core.ranking import Queries, Rankings
from recbench.nn.compute.weights import load_weights
from recbench.nn.ranking.topk import full_catalogue_topk

# B queries, T columns, N items, D width

_ENCODE_SLOTS = 16_384
"""Slots that are read at a time: enough for the threads, and little memory."""
_FILE = "model.safetensors"


class HistoryEncoder(Protocol):
    """A `torch.nn.Module` that reads histories.

    Attributes:
        n_items: N; item rows are 0..N-1, and row N fills a batch up.
        max_length: how many items of a history it reads, the newest ones.
    """

    n_items: int
    max_length: int

    @property
    def item_ID(self) -> Tensor:  # noqa: N802
        """Vectors of the items, (N, D): what states are multiplied with."""

    def last_states(self, item_BT: Tensor, length_B: Tensor) -> Tensor:
        """The state after the newest item of each history, (B, D).

        Args:
            item_BT: (B, T) int64 item rows, oldest first, `n_items` after the end.
            length_B: (B,) int64, how many items each history has, 1 to `max_length`.
        """

    def eval(self) -> Any:
        """Leave training: no dropout."""

    def state_dict(self) -> dict[str, Any]:
        """All weights by name."""

    def to(self, device: str) -> Any:
        """Move all weights."""


EncoderT = TypeVar("EncoderT", bound=HistoryEncoder)


class HistoryRecommender(Generic[EncoderT]):
    """All of a recommender but `fit`, which a model adds: it sets `encoder` to a new network and trains it.

    After an empty history all scores are 0, and item rows decide. A model whose network reads more of a query than the items overrides
    `states`; one that knows something about an empty history overrides `encode`; one whose loss changes the vectors before it multiplies
    them overrides `multiplied`.

    Attributes:
        encoder: the network, in its present state.
    """

    def __init__(self, encoder: EncoderT) -> None:
        self.encoder = encoder
        encoder.eval()

    def generate(self, queries: Queries, k: int) -> Rankings:
        """The k items with the largest inner products with the state of the history."""
        with torch.inference_mode():
            return full_catalogue_topk(*self.multiplied(self.encode(queries), self.encoder.item_ID), queries, k)

    def multiplied(self, state_BD: Tensor, item_ID: Tensor) -> tuple[Tensor, Tensor]:
        """What the inner products are taken of, from states and item vectors: these, unless a model scores by their cosines."""
        return state_BD, item_ID

    def encode(self, queries: Queries) -> Tensor:
        """The state of each history, (B, D) float32; zeros for an empty one."""
        self.encoder.eval()
        newest = _newest(queries, self.encoder.max_length)
        with torch.inference_mode():
            item_ID = self.encoder.item_ID
            state_BD = torch.zeros(len(queries), item_ID.shape[1], device=item_ID.device)
            for rows in newest.histories.length_buckets(_ENCODE_SLOTS):
                rows = rows[newest.histories.lengths[rows] > 0]
                if len(rows) == 0:
                    continue
                part = newest.take(rows)
                item_BT = torch.from_numpy(part.histories.padded(self.encoder.n_items)).long().to(item_ID.device)
                length_B = torch.from_numpy(part.histories.lengths).to(item_ID.device)
                state_BD[torch.from_numpy(rows).to(item_ID.device)] = self.states(part, item_BT, length_B).float()
        return state_BD

    def states(self, queries: Queries, item_BT: Tensor, length_B: Tensor) -> Tensor:  # noqa: ARG002
        """The states of histories of at least one item, (B, D).

        Args:
            queries: with users and times, their histories cut to the newest `max_length` items.
            item_BT: (B, T) int64, these histories as the encoder reads them.
            length_B: (B,) int64, their lengths.
        """
        return self.encoder.last_states(item_BT, length_B)

    def item_vectors(self) -> NDArray[np.float32]:
        """The items' vectors, (n_items, D)."""
        vectors: NDArray[np.float32] = self.encoder.item_ID.detach().float().cpu().numpy().copy()
        return vectors

    def save(self, folder: Path) -> None:
        """Write the weights."""
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.encoder.state_dict().items()}
        save_file(weights, folder / _FILE)

    def load(self, folder: Path) -> None:
        """Read the weights; `BadData` where they do not fit the settings."""
        load_weights(self.encoder.state_dict(), folder / _FILE)
        self.encoder.eval()

    def to(self, device: str) -> None:
        """Move the network."""
        self.encoder.to(device)


def _newest(queries: Queries, n: int) -> Queries:
    """The same questions about the newest `n` events of each history."""
    old, new = queries.histories, queries.histories.tail(n)
    if queries.timestamp is None:
        return replace(queries, histories=new)
    index = np.arange(len(new.item), dtype=np.int64) + np.repeat(old.offsets[1:] - new.offsets[1:], new.lengths)
    return replace(queries, histories=new, timestamp=queries.timestamp[index])
