"""Words around the codes: the wordings of the three tasks, items' names, and their tokens.

Tokens of codes come first in the vocabulary of the extended language model, tokens of words behind them, so that the head over codes
alone numbers them as the input does.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from recbench.core import FitContext
from recbench.nn.text import held_fields, read_config, refuse_unknown_words, tokenizer_of
from recbench_models.lc_rec.config import SCRATCH, LCRecConfig

TokenList = list[int]

SEQUENCE = (
    "What a customer bought, oldest first:",
    "Purchases of one person in order:",
    "This shopper chose, one after another:",
)
"""In front of the codes of a history."""
ITEM_TO_CODE = (("The product", "has the code:"), ("Code of the item", "is:"), ("Find by name:", "Found:"))
"""In front of an item's name, and between name and code."""
CODE_TO_ITEM = (("The product with the code", "is called:"), ("Name of the item", "is:"), ("Look up:", "Found:"))
"""In front of an item's code, and between code and name."""
N_WORDINGS = 3

_BEGIN, _END, _UNKNOWN = 0, 1, 2
_FIRST_WORD = 3
_WORD = re.compile(r"\w+")
_TEXTS_PER_CALL = 10_000


class _Tokenizer(Protocol):
    """Words to numbers from 0 on."""

    begin: TokenList
    """In front of every text."""
    end: TokenList
    """Behind a name that was written."""

    def __call__(self, texts: Sequence[str]) -> list[TokenList]:
        """The tokens of each text, without begin and end."""


@dataclass(frozen=True)
class Prompts:
    """Tokens of wordings and names in the numbers of the extended model.

    Attributes:
        sequence: what stands in front of a history, by wording.
        to_code: what stands in front of a name, and between name and code, by wording.
        to_item: what stands in front of a code, and between code and name, by wording.
        names: of each item; empty where it has none.
        end: behind a name that is written.
    """

    sequence: tuple[TokenList, ...]
    to_code: tuple[tuple[TokenList, TokenList], ...]
    to_item: tuple[tuple[TokenList, TokenList], ...]
    names: list[TokenList]
    end: TokenList


def read_prompts(context: FitContext, config: LCRecConfig, n_codes: int) -> Prompts:
    """The tokens of all that is read and written beside codes.

    Args:
        context: of the run; it has the items' names.
        config: says which model's tokenizer is used and what a name is.
        n_codes: tokens of codes, behind which those of words begin.

    Raises:
        BadRequest: no item has a name and a task asks for names, or the model's files are not here or damaged.
    """
    names, texts = config.tasks.names, [""] * len(context.items)
    if config.tasks.item_to_code or config.tasks.code_to_item:
        held_fields(context.items, names, context.log, part="tasks.names")
        texts = context.items.text(names.fields)
    wordings = [text for pair in (*ITEM_TO_CODE, *CODE_TO_ITEM) for text in pair]
    model = config.language_model
    tokenizer: _Tokenizer = (
        _Words([*SEQUENCE, *wordings, *texts], model.scratch.vocabulary_size)
        if model.name == SCRATCH
        else _Pretrained(model.located().folder, texts)
    )

    def tokens(parts: Sequence[str]) -> list[TokenList]:
        return [[n_codes + token for token in row] for row in tokenizer(parts)]

    def pairs(wordings: Sequence[tuple[str, str]]) -> tuple[tuple[TokenList, TokenList], ...]:
        before, between = tokens([pair[0] for pair in wordings]), tokens([f" {pair[1]}" for pair in wordings])
        return tuple((begin + first, second) for first, second in zip(before, between, strict=True))

    begin = [n_codes + token for token in tokenizer.begin]
    # A name follows other words: with the space in front of it, as the model met it in its texts.
    of_names = tokens([f" {text}" for text in texts])
    return Prompts(
        sequence=tuple(begin + row for row in tokens(SEQUENCE)),
        to_code=pairs(ITEM_TO_CODE),
        to_item=pairs(CODE_TO_ITEM),
        names=[row[: names.max_tokens] if text else [] for row, text in zip(of_names, texts, strict=True)],
        end=[n_codes + token for token in tokenizer.end],
    )


class _Words:
    """The words of some texts, the most frequent ones with numbers of their own."""

    begin, end = [_BEGIN], [_END]

    def __init__(self, texts: Sequence[str], size: int) -> None:
        counts = Counter(word for text in texts for word in _WORD.findall(text.lower()))
        known = sorted(counts, key=lambda word: (-counts[word], word))[: size - _FIRST_WORD]
        self._number = {word: row for row, word in enumerate(known, start=_FIRST_WORD)}

    def __call__(self, texts: Sequence[str]) -> list[TokenList]:
        return [[self._number.get(word, _UNKNOWN) for word in _WORD.findall(text.lower())] for text in texts]


class _Pretrained:
    """The tokenizer of a pretrained model."""

    def __init__(self, folder: Path, texts: Sequence[str]) -> None:
        role = "language_model.name"
        self._tokenizer: Any = tokenizer_of(folder, role, read_config(folder, role))
        refuse_unknown_words(self._tokenizer, texts, folder, role)
        self.begin = _one_or_none(self._tokenizer.bos_token_id)
        self.end = _one_or_none(self._tokenizer.eos_token_id)

    def __call__(self, texts: Sequence[str]) -> list[TokenList]:
        found: list[TokenList] = []
        for start in range(0, len(texts), _TEXTS_PER_CALL):
            part = list(texts[start : start + _TEXTS_PER_CALL])
            found += self._tokenizer(part, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
        return found


def _one_or_none(token: int | None) -> TokenList:
    return [] if token is None else [token]
