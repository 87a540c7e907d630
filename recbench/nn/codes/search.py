"""Beam search for any number of queries: in batches, on all threads, with the lists in the order of the queries."""

from collections import Counter
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch

from recbench.core import Queries, Rankings
from recbench.core.ragged import LongArray
from recbench.nn.codes.beam import LengthNorm, StepDecoder, beam_search
from recbench.nn.codes.trie import CodeTrie
from recbench.nn.compute.threads import over_batches

Batching = Literal["full", "even"]
"""`full`: short queries first, in full batches. `even`: long ones first, in batches of equal size, a multiple of the CPU threads in number,
so that all threads end together. Which queries share a batch may change the last digits of scores, so a model keeps its way."""
_BEAMS_AT_A_TIME = {"cpu": 1_600}
_MAX_BEAMS_AT_A_TIME = 102_400
"""Queries times beams of all views that are searched together: enough for large products, and little memory."""


def batched_beam_search(
    decoder_of: Callable[[LongArray], StepDecoder],
    trie: CodeTrie,
    queries: Queries,
    k: int,
    *,
    length_B: LongArray,
    n_beams: int,
    batching: Batching = "full",
    length_norm: LengthNorm = "none",
    length_power: float = 1.0,
    renormalise: bool = False,
) -> Rankings:
    """The best items of each query in each view, by `beam_search`.

    Args:
        decoder_of: makes the decoder of the queries with these row numbers, (b,) int64; called in inference mode, and on a CPU from
            several threads at a time.
        trie: the codes, on the decoders' device.
        queries: B questions.
        k: length of the lists.
        length_B: (B,) how much the decoder reads of each query; queries of like length are searched together, which saves padding.
        n_beams: beams of each view; `k` where that is more.
        batching: how queries are put together.
        length_norm: see `recbench.nn.codes.beam`, as for the two that follow.
        length_power: see there.
        renormalise: see there.
    """
    n_beams = max(n_beams, k)

    def search(rows: LongArray) -> Rankings:
        with torch.inference_mode():
            decoder = decoder_of(rows)
        return beam_search(
            decoder,
            trie,
            queries.histories.take(rows),
            k,
            views=queries.views,
            n_beams=n_beams,
            length_norm=length_norm,
            length_power=length_power,
            renormalise=renormalise,
        )

    at_a_time = _BEAMS_AT_A_TIME.get(trie.device.type, _MAX_BEAMS_AT_A_TIME) // (n_beams * len(queries.views))
    batches = _batches(length_B, max(1, at_a_time), batching, trie.device)
    shape = (len(queries.views), len(queries), k)
    items, scores = np.full(shape, -1, dtype=np.int32), np.full(shape, -np.inf, dtype=np.float32)
    counters: Counter[str] = Counter()
    for rows, found in zip(batches, over_batches(search, batches, trie.device), strict=True):
        items[:, rows], scores[:, rows] = found.items, found.scores
        counters.update(found.counters)
    return Rankings(queries.views, items, scores, dict(counters))


def _batches(length_B: LongArray, at_a_time: int, batching: Batching, device: torch.device) -> list[LongArray]:
    """All queries, those of like length together, in batches of at most `at_a_time`."""
    if batching == "full":
        order = np.argsort(length_B, kind="stable")
        return [order[start : start + at_a_time] for start in range(0, len(order), at_a_time)]
    n_batches = max(-(-len(length_B) // at_a_time), 1)
    if device.type == "cpu" and n_batches > 1:
        n_threads = torch.get_num_threads()
        n_batches = -(-n_batches // n_threads) * n_threads
    order = np.argsort(-length_B, kind="stable")
    return [rows for rows in np.array_split(order, n_batches) if len(rows)]
