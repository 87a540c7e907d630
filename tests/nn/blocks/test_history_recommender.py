"""Histories to states to lists, whatever the network is."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recbench.core import BadData, Movable, Queries, Ranker
from recbench.nn.blocks import HistoryRecommender
from recbench.testing import queries


class WeighedItems(nn.Module):
    """The state of slot t is the sum of (t + 1) times the vector of the item in it, over the slots so far."""

    def __init__(self, n_items: int, width: int, max_length: int) -> None:
        super().__init__()
        self.n_items, self.max_length = n_items, max_length
        self.table = nn.Embedding(n_items + 1, width, padding_idx=n_items)

    @property
    def item_ID(self) -> Tensor:  # noqa: N802
        return self.table.weight[: self.n_items]

    def forward(self, item_BT: Tensor, length_B: Tensor) -> Tensor:
        place_T1 = torch.arange(1.0, item_BT.shape[1] + 1)[:, None]
        return (place_T1 * self.table(item_BT)).cumsum(1)

    def last_states(self, item_BT: Tensor, length_B: Tensor) -> Tensor:
        states: Tensor = self(item_BT, length_B)[torch.arange(len(item_BT)), length_B - 1]
        return states


class SeesQueries(HistoryRecommender[WeighedItems]):
    """Notes what it was asked about."""

    def __init__(self, encoder: WeighedItems) -> None:
        super().__init__(encoder)
        self.seen: list[Queries] = []

    def states(self, queries: Queries, item_BT: Tensor, length_B: Tensor) -> Tensor:
        self.seen.append(queries)
        return super().states(queries, item_BT, length_B)


def network(n_items: int = 9, width: int = 4, max_length: int = 3) -> WeighedItems:
    torch.manual_seed(0)
    return WeighedItems(n_items, width, max_length)


def test_states_are_those_of_the_newest_items_and_zero_after_none() -> None:
    encoder = network()
    state = HistoryRecommender(encoder).encode(queries([[4, 2], [], [8, 7, 1, 2, 3], [5]]))
    e = encoder.item_ID
    expected = torch.stack([e[4] + 2 * e[2], torch.zeros(4), e[1] + 2 * e[2] + 3 * e[3], e[5]])
    torch.testing.assert_close(state, expected)


def test_lists_follow_the_inner_products_in_both_views() -> None:
    encoder = network()
    asked = queries([[4, 2], [5, 5, 1]])
    model = HistoryRecommender(encoder)
    assert isinstance(model, Ranker)
    assert isinstance(model, Movable)
    ranked = model.generate(asked, 9)
    score = model.encode(asked) @ encoder.item_ID.detach().T
    for row, history in enumerate(([4, 2], [5, 5, 1])):
        order = score[row].argsort(descending=True).tolist()
        assert ranked.view("keep")[row].tolist() == order
        left = [item for item in order if item not in history]
        assert ranked.view("unseen")[row].tolist() == left + [-1] * (9 - len(left))
    assert HistoryRecommender(encoder).generate(queries([[]]), 3).view("keep").tolist() == [[0, 1, 2]]


def test_users_and_times_come_with_the_newest_events() -> None:
    asked = queries([[4, 2], [], [8, 7, 1, 2, 3]])
    timed = Queries(asked.histories, asked.user, asked.user_ids, asked.views, np.arange(7, dtype=np.int64))
    model = SeesQueries(network())
    model.encode(timed)
    times = {}
    for part in model.seen:
        assert part.timestamp is not None
        offsets = part.histories.offsets
        times |= {int(user): part.timestamp[offsets[i] : offsets[i + 1]].tolist() for i, user in enumerate(part.user)}
    assert times == {0: [0, 1], 2: [4, 5, 6]}
    model.seen.clear()
    model.encode(asked)
    assert all(part.timestamp is None for part in model.seen)


def test_company_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    asked = queries([rng.integers(0, 9, rng.integers(0, 6)).tolist() for _ in range(40)])
    model = HistoryRecommender(network())
    whole = model.encode(asked)
    for rows in (np.array([3]), np.array([7, 0, 30]), np.arange(39, -1, -1)):
        torch.testing.assert_close(model.encode(asked.take(rows)), whole[rows], atol=1e-6, rtol=0)


def test_saved_weights_come_back_and_others_are_refused(tmp_path: Path) -> None:
    model = HistoryRecommender(network())
    model.save(tmp_path)
    other = HistoryRecommender(WeighedItems(9, 4, 3))
    other.load(tmp_path)
    np.testing.assert_array_equal(other.item_vectors(), model.item_vectors())
    assert other.item_vectors().shape == (9, 4)
    with pytest.raises(BadData, match=r"table\.weight has shape \(10, 4\)"):
        HistoryRecommender(WeighedItems(10, 4, 3)).load(tmp_path)
    model.to("meta")
    assert model.encoder.item_ID.device.type == "meta"
