"""What S3-Rec hides in pre-training."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbench_models.s3rec.data import hidden_slots, items_outside, segments

lengths = st.lists(st.integers(1, 12), min_size=1, max_size=8)


@given(lengths, st.floats(0, 1))
def test_the_newest_item_is_always_hidden_and_padding_never(lengths: list[int], rate: float) -> None:
    length_B = torch.tensor(lengths)
    is_hidden_BT = hidden_slots(length_B, max(lengths), rate)
    assert is_hidden_BT[torch.arange(len(lengths)), length_B - 1].all()
    assert not (is_hidden_BT & (torch.arange(max(lengths)) >= length_B[:, None])).any()
    if rate in (0, 1):
        assert is_hidden_BT.sum(1).tolist() == [1 if rate == 0 else length for length in lengths]


def test_other_items_are_hidden_at_the_rate() -> None:
    torch.manual_seed(0)
    share_T = hidden_slots(torch.full((20_000,), 9), 9, 0.2).float().mean(0)
    np.testing.assert_allclose(share_T, [0.2] * 8 + [1.0], atol=0.02)


def test_other_items_are_uniform_outside_the_sequence() -> None:
    torch.manual_seed(0)
    rows = [[0, 3, 4, 3, 8], [7, 8, 8, 8, 8], [6, 5, 4, 3, 1], [0, 1, 2, 3, 4]]
    allowed = [[1, 2, 5, 6, 7], [0, 1, 2, 3, 4, 5, 6], [0, 2, 7], [5, 6, 7]]
    item_BT = torch.tensor(rows).repeat(4_000, 1)
    drawn = items_outside(item_BT, 8).view(4_000, 4, 5)
    for row, items in enumerate(allowed):
        share = torch.bincount(drawn[:, row].flatten(), minlength=8) / 20_000
        assert torch.nonzero(share).flatten().tolist() == items
        np.testing.assert_allclose(share[items], 1 / len(items), atol=0.02)


@given(st.lists(st.integers(2, 12), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_segments_split_a_sequence_in_two(lengths: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    n, width, mask, fill = len(lengths), max(lengths), 99, 98
    length_B = torch.tensor(lengths)
    item_BT = torch.arange(n * width).view(n, width).masked_fill(torch.arange(width) >= length_B[:, None], fill)
    pool_P = torch.arange(100, 115)
    parts = segments(item_BT, length_B, pool_P, mask)
    for row, length in enumerate(lengths):
        items = item_BT[row, :length]
        context, own, foreign = (part[row] for part in (parts.context_BT, parts.own_BT, parts.foreign_BT))
        assert (torch.stack([context, own, foreign])[:, length:] == fill).all()
        is_segment = context[:length] == mask
        place = is_segment.nonzero().flatten()
        assert 1 <= len(place) <= length // 2
        assert place[-1] - place[0] == len(place) - 1
        assert torch.equal(context[:length][~is_segment], items[~is_segment])
        assert torch.equal(own[:length], items.where(is_segment, mask))
        assert (foreign[:length][~is_segment] == mask).all()
        strange = foreign[place]
        assert torch.equal(strange, torch.arange(len(place)) + strange[0])
        assert 100 <= strange[0] <= strange[-1] < 115


def test_segments_of_every_length_and_place_are_drawn() -> None:
    torch.manual_seed(0)
    item_BT = torch.arange(6).repeat(3_000, 1)
    parts = segments(item_BT, torch.full((3_000,), 6), torch.arange(100, 110), 99)
    is_segment_BT = parts.context_BT == 99
    drawn = {(int(size), int(first)) for size, first in zip(is_segment_BT.sum(1), is_segment_BT.int().argmax(1), strict=True)}
    assert drawn == {(size, first) for size in (1, 2, 3) for first in range(6 - size + 1)}
    assert set(parts.foreign_BT.unique().tolist()) == {99, *range(100, 110)}
