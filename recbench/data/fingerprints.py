"""sha256 sums that tell whether two splits are the same, whatever files, types or machine they were made on."""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from recbench.core.interactions import ItemTable, StringArray
from recbench.core.ragged import IntArray, LongArray, Ragged, flat_index
from recbench.data.card import STANDARD_COLUMNS

_USER, _HISTORY, _TARGET = b"u", b"h", b"t"
_NULL, _VALUE = b"n", b"v"
_ENTRIES_PER_BLOCK = 1 << 17


class TripleHasher:
    """Hashes (user, history, targets) triples by the source's ids.

    Each id enters as one letter for its role, its length and its UTF-8 bytes, so no two lists of triples give the same bytes.
    """

    def __init__(self, user_ids: StringArray, item_ids: StringArray) -> None:
        texts = [
            *_tokens(_USER, user_ids),
            *_tokens(_HISTORY, item_ids),
            *_tokens(_TARGET, item_ids),
        ]
        self._n_users, self._n_items = len(user_ids), len(item_ids)
        self._bytes = np.frombuffer(b"".join(texts), dtype=np.uint8)
        self._offsets = np.zeros(len(texts) + 1, dtype=np.int64)
        np.cumsum([len(text) for text in texts], out=self._offsets[1:])

    def digest(self, user: NDArray[np.integer], histories: Ragged, targets: Ragged | None = None) -> str:
        """sha256 over the triples in the order given; without targets, over (user, history) pairs.

        Args:
            user: (B,) user rows.
            histories: B lists of item rows.
            targets: B sets of item rows, sorted.
        """
        hasher = hashlib.sha256(b"recbench triples 1\n")
        lengths = 1 + histories.lengths + (0 if targets is None else targets.lengths)
        for rows in _blocks(lengths):
            hasher.update(self._encode(user[rows], histories.take(rows), None if targets is None else targets.take(rows)))
        return hasher.hexdigest()

    def _encode(self, user: NDArray[np.integer], histories: Ragged, targets: Ragged | None) -> bytes:
        """Bytes of a block: per triple the tokens of user, history and targets, one after the other."""
        pieces = 2 if targets is None else 3
        piece_lengths = np.ones((len(user), pieces), dtype=np.int64)
        piece_lengths[:, 1] = histories.lengths
        if targets is not None:
            piece_lengths[:, 2] = targets.lengths
        owner = np.repeat(np.tile(np.arange(pieces), len(user)), piece_lengths.ravel())
        token = np.empty(len(owner), dtype=np.int64)
        token[owner == 0] = user
        token[owner == 1] = histories.item.astype(np.int64) + self._n_users
        if targets is not None:
            token[owner == 2] = targets.item.astype(np.int64) + self._n_users + self._n_items
        index, _ = flat_index(self._offsets, token)
        return self._bytes[index].tobytes()


def text_digest(items: ItemTable) -> str:
    """sha256 over item ids and their texts: the standard columns, then any other in alphabetical order."""
    extra = sorted(set(items.columns) - set(STANDARD_COLUMNS))
    nothing: IntArray | list[None] = [None] * len(items)
    columns = [items.columns.get(name, nothing) for name in (*STANDARD_COLUMNS, *extra)]
    hasher = hashlib.sha256(b"recbench text 1\n" + "\n".join(extra).encode() + b"\n")
    for values in zip(items.item_ids, *columns, strict=True):
        hasher.update(b"".join(_NULL if value is None else _token(_VALUE, value) for value in values))
    return hasher.hexdigest()


def column_digest(items: ItemTable, name: str) -> str:
    """sha256 over item ids and a model column, by its name."""
    hasher = hashlib.sha256(b"recbench model column 1\n" + _token(_VALUE, name))
    for item_id, value in zip(items.item_ids, items.model_columns[name], strict=True):
        hasher.update(_token(_VALUE, item_id) + (_NULL if value is None else _token(_VALUE, value)))
    return hasher.hexdigest()


def _tokens(role: bytes, ids: Iterable[str]) -> list[bytes]:
    return [_token(role, source_id) for source_id in ids]


def _token(role: bytes, text: str) -> bytes:
    encoded = text.encode()
    return role + len(encoded).to_bytes(4, "little") + encoded


def _blocks(lengths: LongArray) -> Iterable[LongArray]:
    """Row numbers in runs of bounded total length, every row in one run."""
    ends = np.cumsum(lengths)
    start = 0
    while start < len(lengths):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + _ENTRIES_PER_BLOCK, side="right")))
        yield np.arange(start, stop, dtype=np.int64)
        start = stop
