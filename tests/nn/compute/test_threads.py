"""Batches side by side: in order, on one thread each, and nothing left changed."""

import threading

import pytest
import torch

from recbench.nn.compute.threads import over_batches

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _two_threads() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_come_in_order_from_threads_that_compute_alone() -> None:
    def work(batch: int) -> tuple[int, int, bool]:
        return batch * batch, torch.get_num_threads(), threading.current_thread() is threading.main_thread()

    assert over_batches(work, list(range(7)), CPU) == [(batch * batch, 1, False) for batch in range(7)]
    assert torch.get_num_threads() == 2


def test_a_single_batch_has_one_thread_too() -> None:
    assert over_batches(lambda _: torch.get_num_threads(), ["only"], CPU) == [1]
    assert torch.get_num_threads() == 2


def test_no_batch_is_no_result() -> None:
    assert over_batches(lambda _: torch.get_num_threads(), [], CPU) == []


def test_a_fault_in_a_batch_is_raised_and_stops_the_others() -> None:
    begun = []

    def work(batch: int) -> None:
        begun.append(batch)
        if batch == 0:
            raise ValueError("batch 0")
        torch.randn(200, 200).inverse()

    with pytest.raises(ValueError, match="batch 0"):
        over_batches(work, list(range(2000)), CPU)
    assert len(begun) < 2000
    assert torch.get_num_threads() == 2
