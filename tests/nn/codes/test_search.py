"""The search in batches, on decoders that are tables."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest
import torch
from beam_case import TableDecoder, random_table
from hypothesis import given, settings
from hypothesis import strategies as st

from recbench.core.ragged import LongArray, Ragged
from recbench.nn.codes.beam import beam_search
from recbench.nn.codes.search import Batching, batched_beam_search
from recbench.nn.codes.trie import CodeTrie
from recbench.testing import queries

VOCABULARY = 5
CODES = [(a, b) for a in range(4) for b in range(5)]


@contextmanager
def threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@settings(max_examples=15)
@given(
    lengths=st.lists(st.integers(0, 9), max_size=12),
    at_a_time=st.integers(1, 5),
    batching=st.sampled_from(["full", "even"]),
    n_threads=st.integers(1, 3),
    k=st.integers(1, 6),
)
def test_every_query_gets_the_list_that_one_search_for_all_gives(
    lengths: list[int], at_a_time: int, batching: Batching, n_threads: int, k: int
) -> None:
    table, trie = random_table(1, VOCABULARY), CodeTrie.from_tokens(Ragged.from_lists(CODES))
    asked = queries([list(range(length)) for length in lengths])
    together: list[list[int]] = []

    def decoder_of(rows: LongArray) -> TableDecoder:
        together.append([lengths[row] for row in rows])
        return TableDecoder(table, rows.tolist(), VOCABULARY)

    with pytest.MonkeyPatch.context() as patch, threads(n_threads):
        patch.setattr("recbench.nn.codes.search._BEAMS_AT_A_TIME", {"cpu": at_a_time * 2 * max(k, 4)})
        found = batched_beam_search(decoder_of, trie, asked, k, length_B=np.array(lengths, np.int64), n_beams=4, batching=batching)

    one = TableDecoder(table, range(len(lengths)), VOCABULARY)
    whole = beam_search(one, trie, asked.histories, k, views=asked.views, n_beams=max(k, 4))
    np.testing.assert_array_equal(found.items, whole.items)
    np.testing.assert_allclose(found.scores, whole.scores, rtol=1e-5, atol=1e-6)
    assert {name: n for name, n in whole.counters.items() if n} == {name: n for name, n in found.counters.items() if n}

    sizes = [len(batch) for batch in together]
    assert sum(sizes) == len(lengths)
    assert max(sizes, default=0) <= at_a_time
    together.sort()
    assert all(max(before) <= min(after) for before, after in pairwise(together))
    n_full = -(-len(lengths) // at_a_time)
    if batching == "even" and n_full > 1:
        assert len(sizes) == min(len(lengths), -(-n_full // n_threads) * n_threads)
        assert max(sizes) - min(sizes) <= 1
    else:
        assert len(sizes) == n_full
