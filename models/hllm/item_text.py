"""Input of the item tower: the text of every item, and its tokens, made once for the whole catalogue."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from recbench.core import FitContext, ItemTable
from recbench.core.ragged import Ragged
from recbench.nn.text import held_fields, read_config, refuse_unknown_words, tokenizer_of
from recbench_models.hllm.config import OWN, HLLMConfig, ItemTextSettings

# Of a vocabulary of words; 0 is never written.
BEGIN, UNKNOWN = 1, 2
_FIRST_WORD = 3
_WORD = re.compile(r"\w+")
_FILE = "tokens.safetensors"
_TEXTS_PER_CALL = 10_000


def item_lines(items: ItemTable, text: ItemTextSettings) -> list[str]:
    """The text of each item: the prompt, then `name: value` or the value alone for each field that has one. Empty for an item without any.

    arXiv:2409.12740, section 3.1, and the released code, which sets nothing between two fields. With `shuffle_seed` the texts go to
    other items.
    """
    columns = [
        (f"{text.names.get(name, name)}: " if text.labels else "", items.columns[name]) for name in text.fields if name in items.columns
    ]
    lines = []
    for row in range(len(items)):
        fields = [f"{before}{column[row]}" for before, column in columns if column[row]]
        lines.append(text.prompt + text.separator.join(fields) if fields else "")
    if text.shuffle_seed is not None:
        lines = [lines[row] for row in np.random.default_rng(text.shuffle_seed).permutation(len(lines))]
    return lines


def item_tokens(context: FitContext, config: HLLMConfig) -> Ragged:
    """The tokens of every item and, behind the last one, of the empty text; from the cache or made now.

    Raises:
        BadRequest: no item has a value in any of the fields, or the data set lacks one that is not optional.
        DataUnavailable: the item tower's files are not here.
    """
    held_fields(context.items, config.text, context.log)
    lines = item_lines(context.items, config.text)
    settings: dict[str, object] = {
        "lines": hashlib.sha256("\0".join(lines).encode()).hexdigest(),
        "max_tokens": config.text.max_tokens,
    }
    inputs: list[str | Path] = []
    located = None
    if config.item.tower == OWN:
        settings["vocabulary_size"] = config.item.vocabulary_size
    else:
        located = config.item.located()
        settings["tower"] = located.name
        inputs += [located.folder] if located.is_known_by_content else []

    def build(folder: Path) -> None:
        texts = [*lines, ""]
        tokens = words_of(texts, config.item.vocabulary_size) if located is None else _encoded(context, located.folder, texts)
        cut = [row[: config.text.max_tokens] for row in tokens]
        save_file({"item": np.concatenate(cut).astype(np.int32), "length": np.array([len(row) for row in cut], np.int64)}, folder / _FILE)

    tensors = load_file(context.common_stage("item-tokens", build, config=settings, inputs=inputs) / _FILE)
    offsets = np.concatenate([[0], np.cumsum(tensors["length"])]).astype(np.int64)
    return Ragged(tensors["item"], offsets)


def words_of(texts: Sequence[str], size: int) -> list[list[int]]:
    """Each text as a begin mark and the numbers of its words; the `size` - 3 words that are the most frequent have one of their own."""
    words = [_WORD.findall(text.lower()) for text in texts]
    counts = Counter(word for row in words for word in row)
    known = sorted(counts, key=lambda word: (-counts[word], word))[: size - _FIRST_WORD]
    number = {word: row for row, word in enumerate(known, start=_FIRST_WORD)}
    return [[BEGIN, *(number.get(word, UNKNOWN) for word in row)] for row in words]


def _encoded(context: FitContext, folder: Path, texts: list[str]) -> list[list[int]]:
    """The tokens of each text with the tokenizer's own special ones; at least one each."""
    tokenizer = tokenizer_of(folder, "item.tower", read_config(folder, "item.tower"))
    refuse_unknown_words(tokenizer, texts, folder, "item.tower")
    tokens: list[list[int]] = []
    with context.progress.task("item tokens", len(texts)) as task:
        for start in range(0, len(texts), _TEXTS_PER_CALL):
            part = texts[start : start + _TEXTS_PER_CALL]
            tokens += tokenizer(part, return_attention_mask=False, verbose=False)["input_ids"]
            task.advance(len(part))
    # A tokenizer without special tokens makes nothing of an empty text, and a tower cannot read nothing.
    filler = next((token for token in (tokenizer.eos_token_id, tokenizer.pad_token_id) if token is not None), 0)
    return [row or [filler] for row in tokens]
