"""The tree of item codes."""

import time

import numpy as np
import pytest
import torch
from beam_case import Code
from hypothesis import given, settings
from hypothesis import strategies as st

from recbench.core import Ragged
from recbench.nn.codes.trie import CodeTrie

codes_of = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple), min_size=1, max_size=40)


def children(trie: CodeTrie, node: int) -> dict[int, int]:
    low, high = trie.child_ptr[node : node + 2].tolist()
    return dict(zip(trie.child_token[low:high].tolist(), trie.child_node[low:high].tolist(), strict=True))


def walk(trie: CodeTrie, code: Code) -> list[int]:
    nodes = [0]
    for token in code:
        nodes.append(children(trie, nodes[-1])[token])
    return nodes


@settings(max_examples=100, deadline=None)
@given(codes_of)
def test_holds_every_code_and_no_other(codes: list[Code]) -> None:
    """Codes of unequal length, some a prefix of others, some of several items."""
    trie = CodeTrie.from_tokens(Ragged.from_lists(codes), may_collide=True)
    prefixes = {code[:depth] for code in codes for depth in range(len(code) + 1)}
    assert trie.n_nodes == len(prefixes)
    assert trie.n_items == len(codes)
    assert len(trie.child_token) == len(trie.child_node) == trie.n_nodes - 1
    for prefix in prefixes:
        node = walk(trie, prefix)[-1]
        below = [item for item, code in enumerate(codes) if code[: len(prefix)] == prefix]
        longer = {code[len(prefix)] for code in codes if code[: len(prefix)] == prefix and len(code) > len(prefix)}
        assert list(children(trie, node)) == sorted(longer)
        here = [item for item in below if codes[item] == prefix]
        assert trie.n_ending[node] == len(here)
        assert trie.n_leaves[node] == len(below)
        assert trie.n_codes[node] == len({codes[item] for item in below})
        assert sorted(trie.item_order[trie.begin[node] :][: len(below)].tolist()) == below
        place, item = trie.items_at(torch.tensor([node, 0, node]))
        assert (place.tolist(), item.tolist()) == ([0] * len(here) + [2] * len(here), here * 2)
        assert trie.first_item[node] == min(below)
        assert trie.height[node] == max(len(codes[item]) for item in below) - len(prefix)
        if prefix:
            row = trie.items_below[len(prefix) - 1]
            assert (row[row // trie.n_items == node] % trie.n_items).tolist() == below
    for item, code in enumerate(codes):
        nodes = walk(trie, code)
        assert trie.path[item].tolist() == nodes[1:] + [-1] * (trie.depth - len(code))
        assert [int(trie.parent[node]) for node in nodes] == [-1, *nodes[:-1]]


def test_a_rectangle_gives_the_tree_of_the_same_lists() -> None:
    tokens = np.array([[3, 9], [3, 8], [1, 8]], dtype=np.int32)
    one, other = CodeTrie.from_tokens(tokens), CodeTrie.from_tokens(Ragged.from_lists(tokens.tolist()))
    for name in ("child_ptr", "child_token", "child_node", "n_ending", "item_order", "n_leaves", "path"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist()
    assert one.child_token.tolist() == [1, 3, 8, 8, 9]
    assert one.n_ending.tolist() == [0, 0, 0, 1, 1, 1]
    assert one.item_order.tolist() == [2, 1, 0]
    assert one.n_tokens == 10


def test_moves_to_a_device() -> None:
    trie = CodeTrie.from_tokens(np.array([[3, 9], [3, 8]])).to("meta")
    assert trie.device.type == trie.path.device.type == "meta"
    assert trie.n_tokens == 10


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ([[5, 6], [7, 8], [5, 6]], r"Items 0 and 2 have the same code \[5, 6\]"),
        ([[5], [7, 8], [7, 8]], r"Items 1 and 2 have the same code \[7, 8\]"),
        ([[5], []], "Item 1 has no tokens"),
        ([], "There are no codes"),
        ([[5], [-1, 3]], "holds the token -1"),
    ],
)
def test_refuses(codes: list[list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CodeTrie.from_tokens(Ragged.from_lists(codes))


def test_refuses_a_rectangle_without_columns() -> None:
    with pytest.raises(ValueError, match=r"shape \(3, 0\)"):
        CodeTrie.from_tokens(np.empty((3, 0), np.int64))


def test_a_million_codes_take_seconds() -> None:
    tokens = np.stack(np.unravel_index(np.random.default_rng(0).permutation(2**24)[: 10**6], (64, 64, 64, 64)), 1)
    start = time.process_time()
    trie = CodeTrie.from_tokens(tokens)
    assert time.process_time() - start < 15
    assert trie.n_items == trie.n_leaves[0] == 10**6
