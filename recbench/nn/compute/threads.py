"""Batches side by side on the threads that torch may use."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


def over_batches(work: Callable[[T], R], batches: Sequence[T], device: torch.device) -> list[R]:
    """Results of `work` for each batch, in order.

    On a CPU as many batches as torch has threads are under way at a time, each on a single thread, one that is alone too. Small matrix
    products gain little from a second thread and whole batches gain all of it; and no number depends on how many threads there are. On a
    GPU one follows the other.

    Args:
        work: gets one batch. Modes of torch such as `inference_mode` belong to a thread: it sets its own.
        batches: enough of them for the threads, and of like cost.
        device: where `work` computes.
    """
    n_threads = torch.get_num_threads()
    n_workers = min(n_threads, len(batches))
    if device.type != "cpu" or n_threads == 1 or not batches:
        return [work(batch) for batch in batches]
    pool = ThreadPoolExecutor(n_workers, initializer=torch.set_num_threads, initargs=(1,))
    try:
        return list(pool.map(work, batches))
    finally:
        # After Ctrl-C nobody waits for batches that have not begun.
        pool.shutdown(cancel_futures=True)
        # Threads that start later take what was set last.
        torch.set_num_threads(n_threads)
