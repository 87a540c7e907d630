"""Item codes of unequal length over one table of tokens, such as words and paths."""

from collections.abc import Sequence

from recbench.core.ragged import Histories
from recbench.nn.codes.catalogue import ItemCodes


def codes_from_lists(lists: Sequence[Sequence[int]], *, least_size: int = 1) -> ItemCodes:
    """The codes that these lists of tokens are, one for each item; a token means the same in every place.

    Args:
        lists: tokens from 0 on.
        least_size: of the table, which is larger where a token is.
    """
    code = Histories.from_lists(lists).padded(-1)
    return ItemCodes(code, (max(least_size, int(code.max(initial=-1)) + 1),) * code.shape[1], shared_tokens=True)
