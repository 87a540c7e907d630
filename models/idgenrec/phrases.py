"""IDs by phrases: a token for each word of an item's phrase, or for each piece that a backbone's tokenizer cuts it into."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from recbench.core import BadData, FitContext, ItemTable
from recbench.nn.codes import CodesStage, ItemCodes, codes_from_lists

COLUMN = "idgenrec_text"
"""Column of the item table that holds the phrases."""
_WORD = re.compile(r"\w+")
_PARTS_FILE = "parts.json"

Part = str | int
"""A word, or the number of a piece."""
Cut = Callable[[Sequence[str]], Sequence[Sequence[Part]]]
"""Cuts normalised phrases into their parts."""


@dataclass(frozen=True, eq=False)
class PhraseIDs:
    """The IDs of all items and what their tokens stand for.

    Attributes:
        stage: codes and the folder of the stage that holds them.
        parts: the word or piece of each token, by number; tokens of items without a phrase stand behind them.
    """

    stage: CodesStage
    parts: Sequence[Part]


def item_phrases(context: FitContext, cut: Cut, *, backbone: str = "", inputs: Sequence[Path] = ()) -> PhraseIDs:
    """All items' IDs, which differ from one another, made once for a split.

    Args:
        context: of the run.
        cut: cuts phrases into parts.
        backbone: what the key of the stage calls the tokenizer; empty where there is none.
        inputs: files of the tokenizer that the name does not tell apart.

    Raises:
        BadData: two items have one phrase.
    """

    def build(folder: Path) -> None:
        codes, parts = phrase_codes(context.items, cut)
        context.log.info("IDs by phrases: %.1f tokens per item, %d different ones", codes.lengths.mean(), codes.n_tokens)
        if n_nameless := codes.n_tokens - len(parts):
            context.log.warning("%d of %d items have no phrase; each is named by a token of its own", n_nameless, len(codes))
        codes.save(folder)
        (folder / _PARTS_FILE).write_text(json.dumps(parts, ensure_ascii=False) + "\n", encoding="utf-8")

    folder = context.stage("ids", build, config={"backbone": backbone}, inputs=inputs)
    parts = json.loads((folder / _PARTS_FILE).read_text(encoding="utf-8"))
    return PhraseIDs(CodesStage(ItemCodes.load(folder), folder), parts)


def words(phrases: Sequence[str]) -> list[list[str]]:
    """The words of normalised phrases."""
    return [phrase.split() for phrase in phrases]


def phrase_codes(items: ItemTable, cut: Cut) -> tuple[ItemCodes, list[Part]]:
    """A token for each part of an item's phrase, wherever it stands, and what each token stands for.

    Punctuation does not count; capitals do, for some phrases differ in nothing else. An item without any word has a token of its own.

    Raises:
        BadData: two items have one phrase.
    """
    column = items.model_columns[COLUMN]
    numbers: dict[Part, int] = {}
    first: dict[tuple[int, ...], int] = {}
    normalised = [" ".join(_WORD.findall(phrase or "")) for phrase in column]
    lists = [[numbers.setdefault(part, len(numbers)) for part in parts] for parts in cut(normalised)]
    nameless = [row for row, code in enumerate(lists) if not code]
    for number, row in enumerate(nameless):
        lists[row] = [len(numbers) + number]
    for row, code in enumerate(lists):
        other = first.setdefault(tuple(code), row)
        if other != row:
            raise BadData(
                f"Items {items.item_ids[other]} and {items.item_ids[row]} have the phrases {column[other]!r} and {column[row]!r} in the "
                f"column {COLUMN!r}, which are one once they are cut into tokens. Give each item a phrase of its own."
            )
    return codes_from_lists(lists), list(numbers)
