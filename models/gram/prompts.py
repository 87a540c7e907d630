"""Input of the encoder for a user: one prompt with the IDs of the history, and one prompt for each of its items.

Everything is made of token numbers: texts are tokenised once, IDs are put between them as the tokens they are.
"""

from collections.abc import Sequence

import numpy as np

from recbench.core import Histories, ItemTable
from recbench.core.ragged import IntArray, LongArray, Ragged, flat_index
from recbench_models.gram.config import ItemTextSettings, PromptSettings
from recbench_models.gram.vocabulary import EOS, Vocabulary

_MISSING = "na"


def item_lines(items: ItemTable, text: ItemTextSettings) -> list[str]:
    """The text of every item, lower-case, as `title: ...; brand: ...`.

    Args:
        items: of the data set.
        text: which columns, what they are called, and what stands for a missing value.
    """
    return ["; ".join(f"{name}: {value}" for name, value in row) for row in item_fields(items, text)]


def item_fields(items: ItemTable, text: ItemTextSettings) -> list[list[tuple[str, str]]]:
    """The name and lower-case value of each column of every item, under `shuffle_seed` of another; arguments as for `item_lines`."""
    columns = [(label, items.columns[name]) for name, label in zip(text.fields, _labels(text), strict=True) if name in items.columns]
    rows = []
    for row in range(len(items)):
        values = [(label, column[row]) for label, column in columns if column[row] or text.missing == "na"]
        rows.append([(label, str(value).lower() if value else _MISSING) for label, value in values])
    if text.shuffle_seed is not None:
        # The order in which the vectors of the tree are shuffled.
        return [rows[row] for row in np.random.default_rng(text.shuffle_seed).permutation(len(rows))]
    return rows


def marks(text: ItemTextSettings, prompts: PromptSettings) -> list[str]:
    """The fixed texts of all prompts; an own vocabulary has one token for each."""
    parts = [_before(name, text) for name in ("item", "similar items", *_labels(text))]
    texts = [*parts, *(f"; {part}" for part in parts), ", "]
    texts += [prompts.user_start, prompts.user_separator, prompts.user_end]
    return sorted({fixed for fixed in texts if fixed})


def _before(name: str, text: ItemTextSettings) -> str:
    """What stands before a field of an item prompt."""
    return f"{name}: " if text.labels else ""


def _labels(text: ItemTextSettings) -> list[str]:
    """Name of each column in the text."""
    return [text.names.get(name, name) for name in text.fields]


def item_prompts(
    items: ItemTable,
    tokens: Ragged,
    neighbours: IntArray | None,
    vocabulary: Vocabulary,
    text: ItemTextSettings,
    settings: PromptSettings,
) -> Ragged:
    """The prompt of every item: its ID, the IDs of similar items, best first, then its text; cut, and ended with the end token.

    Args:
        items: of the data set.
        tokens: the ID of every item.
        neighbours: (n_items, k) item rows; None: no field of similar items.
        vocabulary: of the language model.
        text: which fields.
        settings: whether the ID is there, how long.
    """
    rows = item_fields(items, text)
    values = vocabulary.encode([value for row in rows for _, value in row])
    ids = [tokens[item].tolist() for item in range(len(tokens))]
    comma = vocabulary.mark(", ")
    prompts, at = [], 0
    for item, row in enumerate(rows):
        parts: list[tuple[str, list[int]]] = [(_before("item", text), ids[item])] if settings.id_linking else []
        if neighbours is not None and neighbours.shape[1]:
            similar = [ids[other] for other in neighbours[item]]
            parts.append((_before("similar items", text), [*similar[0], *(token for other in similar[1:] for token in (*comma, *other))]))
        parts += [(_before(name, text), values[at + place].tolist()) for place, (name, _) in enumerate(row)]
        at += len(row)
        prompt = [token for place, (label, own) in enumerate(parts) for token in (*vocabulary.mark("; " * (place > 0) + label), *own)]
        prompts.append([*prompt[: settings.item_max_len - 1], EOS])
    return Ragged.from_lists(prompts)


class UserPrompts:
    """Makes the prompts of histories.

    Args:
        tokens: the ID of every item.
        start: tokens before the first ID.
        separator: tokens between two IDs.
        end: tokens behind the last one.
        max_len: tokens of a prompt, the end token included.
    """

    def __init__(self, tokens: Ragged, start: Sequence[int], separator: Sequence[int], end: Sequence[int], max_len: int) -> None:
        n_items = len(tokens)
        lists = [list(start), list(end), *(tokens[item].tolist() for item in range(n_items))]
        lists += [[*separator, *lists[2 + item]] for item in range(n_items)]
        self._pieces, self._n_items, self._max_len = Ragged.from_lists(lists), n_items, max_len

    def __call__(self, histories: Histories) -> Ragged:
        """The prompt of each history, its newest item first; cut, and ended with the end token."""
        n, lengths = len(histories), histories.lengths
        rows = np.empty(int(lengths.sum()) + 2 * n, dtype=np.int64)
        offsets = np.concatenate([[0], np.cumsum(lengths + 2)]).astype(np.int64)
        rows[offsets[:-1]], rows[offsets[1:] - 1] = 0, 1
        # Newest first: the j-th entry of a history stands j places before the end of its prompt.
        row = histories.row_of_entry()
        back = histories.offsets[1:][row] - np.arange(len(histories.item))
        rows[offsets[:-1][row] + back] = 2 + histories.item + np.where(back > 1, self._n_items, 0)
        return _joined(self._pieces, rows, offsets, self._max_len)


def _joined(pieces: Ragged, rows: LongArray, offsets: LongArray, max_len: int) -> Ragged:
    """Lists of pieces as lists of tokens, each cut to `max_len` with the end token as its last.

    Args:
        pieces: lists of tokens.
        rows: (nnz,) numbers of pieces, one list after the other.
        offsets: (n + 1,), starts of the lists in `rows`.
        max_len: tokens of a list at most, the end token included.
    """
    index, piece_offsets = flat_index(pieces.offsets, rows)
    ends = piece_offsets[offsets]
    kept = np.minimum(np.diff(ends), max_len - 1)
    out_offsets = np.concatenate([[0], np.cumsum(kept + 1)]).astype(np.int64)
    out = np.full(out_offsets[-1], EOS, dtype=np.int32)
    place = np.arange(int(kept.sum()), dtype=np.int64)
    list_of = np.repeat(np.arange(len(kept)), kept)
    nth = place - (np.cumsum(kept) - kept)[list_of]
    out[out_offsets[:-1][list_of] + nth] = pieces.item[index[ends[:-1][list_of] + nth]]
    return Ragged(out, out_offsets)
