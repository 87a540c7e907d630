"""The text of an item and its tokens, against golden strings."""

import numpy as np
import pytest

from recbench.core import BadRequest, ItemTable
from recbench.testing import LightContext, interactions
from recbench_models.hllm import PLUGIN
from recbench_models.hllm.item_text import BEGIN, UNKNOWN, item_lines, item_tokens, words_of

PROMPT = "Compress the following sentence into embedding: "


def table(**columns: list[str | None]) -> ItemTable:
    n = len(next(iter(columns.values())))
    return ItemTable(np.array([f"i{row}" for row in range(n)], object), {k: np.array(v, object) for k, v in columns.items()})


def lines(items: ItemTable, **changes: object) -> list[str]:
    fields = {"text.fields": ["title", "categories", "description"], "text.names": {"categories": "tag"}}
    return item_lines(items, PLUGIN.resolve("paper", None, {"item.tower": "minilm", "user.tower": "scratch", **fields, **changes}).text)


def test_the_published_template() -> None:
    items = table(title=["Fototag", None, "A", None], categories=["cooking", "toys", None, None], description=["How to", "", "d", None])
    assert lines(items) == [
        PROMPT + "title: Fototagtag: cookingdescription: How to",
        PROMPT + "tag: toys",
        PROMPT + "title: Adescription: d",
        "",
    ]


def test_order_separator_prompt_and_missing_columns_are_settings() -> None:
    items = table(title=["A"], description=["d"])
    assert lines(items, text={"fields": ["description", "brand", "title"], "prompt": "", "separator": " | "}) == [
        "description: d | title: A"
    ]


def test_shuffled_texts_are_the_same_texts_at_other_items() -> None:
    items = table(title=[f"t{row}" for row in range(50)])
    plain, shuffled = lines(items), lines(items, text={"shuffle_seed": 3})
    assert sorted(plain) == sorted(shuffled)
    assert plain != shuffled
    assert lines(items, text={"shuffle_seed": 3}) == shuffled != lines(items, text={"shuffle_seed": 4})


def test_words_have_numbers_by_how_frequent_they_are() -> None:
    assert words_of(["b a, a!", "A c", ""], 5) == [[BEGIN, 4, 3, 3], [BEGIN, 3, UNKNOWN], [BEGIN]]


def test_tokens_are_cut_and_the_empty_text_stands_behind_the_last_item(tmp_path) -> None:
    texts = {"title": ["one two three four five", None, "one"]}
    context = LightContext(interactions([[0, 1, 2]], 3), tmp_path, texts)
    found = item_tokens(context, PLUGIN.resolve("smoke", None, {"text.prompt": "", "text.max_tokens": 4}))
    assert found.lengths.tolist() == [4, 1, 3, 1]
    assert found[1].tolist() == found[3].tolist() == [BEGIN]
    assert found[0][:3].tolist() == found[2].tolist()


def test_no_text_at_all_is_a_sentence(tmp_path) -> None:
    context = LightContext(interactions([[0, 1]], 2), tmp_path, {"price": ["1", "2"]})
    with pytest.raises(BadRequest, match=r"Item text is read from title, brand, .*--set text\.fields"):
        item_tokens(context, PLUGIN.resolve("smoke"))
