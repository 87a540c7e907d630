"""Which stretches of a history are examples, and which negatives are drawn."""

import hllm_case as case
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbench.core import BadRequest
from recbench_models.hllm.data import batches_of, drawn, drawn_beside

S = 4


def examples(kind: str, events: list[list[int]]) -> list[list[int]]:
    """The events of each example, its targets last."""
    windows = case.windows(case.config(sequences={"kind": kind, "max_length": S}), events, 1000)
    item, target = windows.padded(np.arange(len(windows)), -5)
    return [[*row[: windows.length[n]].tolist(), int(target[n][target[n] >= 0][-1])] for n, row in enumerate(item)]


def test_chunks_do_not_overlap_and_the_oldest_remainder_is_dropped() -> None:
    users = [list(range(n)) for n in (3, S + 1, S + 2, 3 * (S + 1) + 4)]
    assert examples("chunks", users) == [[0, 1, 2], [0, 1, 2, 3, 4], [1, 2, 3, 4, 5], *(list(range(a, a + 5)) for a in (4, 9, 14))]


def test_newest_is_the_last_chunk_of_every_user() -> None:
    assert examples("newest", [list(range(3)), list(range(23))]) == [[0, 1, 2], [18, 19, 20, 21, 22]]


def test_windows_train_every_event_but_the_first_once() -> None:
    windows = case.windows(case.config(sequences={"kind": "windows", "max_length": S}), [list(range(23)), [5]], 1000)
    _, target = windows.padded(np.arange(len(windows)), -5)
    assert sorted(target[target >= 0].tolist()) == list(range(1, 23))


@pytest.mark.parametrize("kind", ["chunks", "newest"])
def test_users_with_nothing_to_predict_have_no_example(kind: str) -> None:
    assert examples(kind, [[1], [2, 3]]) == [[2, 3]]


@given(st.lists(st.integers(2, 12), min_size=1, max_size=20), st.integers(1, 6), st.integers(1, 3))
def test_batches_hold_every_sequence_once_and_enough_for_every_process(lengths: list[int], size: int, n_shares: int) -> None:
    windows = case.windows(case.config(sequences={"max_length": S}), [list(range(n)) for n in lengths], 1000)
    batches = batches_of(windows, size, np.random.default_rng(0), n_shares=n_shares)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(windows)))
    assert all(len(batch) >= min(n_shares, len(windows)) for batch in batches)


def test_a_shared_pool_is_uniform_over_the_catalogue() -> None:
    torch.manual_seed(0)
    pool = drawn(20_000, 25)
    count = torch.bincount(pool, minlength=25)
    assert len(pool) == 20_000
    assert float(((count - 800.0) ** 2 / 800).sum()) < 52.6  # the 99.95 % point of chi-square with 24 degrees of freedom


def test_the_first_negatives_of_a_sequence_are_none_of_its_items() -> None:
    torch.manual_seed(0)
    own = torch.tensor([[0, 1, 2, 3, -1], [7, 7, -1, -1, -1]])
    pools = torch.stack([drawn_beside(own, torch.tensor([3, 1]), 9, 6) for _ in range(400)])
    assert pools.shape == (400, 2, 6)
    assert set(pools[:, 0, :3].unique().tolist()) == {4, 5, 6, 7, 8}
    assert set(pools[:, 0, 3:].unique().tolist()) == set(range(9))
    assert 7 not in pools[:, 1, :1]
    assert 7 in pools[:, 1, 1:]


def test_a_sequence_with_the_whole_catalogue_is_a_sentence() -> None:
    with pytest.raises(BadRequest, match="holds all 3 items"):
        drawn_beside(torch.tensor([[0, 1, 2]]), torch.tensor([1]), 3, 2)


@pytest.mark.parametrize(("n_negatives", "expected"), [(None, 3 * 7), (50, 50)])
def test_how_many_negatives_a_batch_has(n_negatives: int | None, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    training = case.module(case.tower(), case.config(negatives={"count": n_negatives}))
    seen = []
    monkeypatch.setattr(training, "_look_at", seen.append)
    case.loss_and_gradients(training, [0, 3, 5])
    assert seen[0].n_negatives == expected
