"""Prompts to the token, and which histories and targets training shows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gram_case import N_ITEMS, batch, config, model
from hypothesis import given, settings
from hypothesis import strategies as st

from recbench.core import Histories, ItemTable
from recbench.core.ragged import Ragged
from recbench.testing import interactions
from recbench_models.gram.data import Examples, stretches
from recbench_models.gram.prompts import UserPrompts, item_lines, item_prompts, marks
from recbench_models.gram.vocabulary import EOS, Vocabulary

TABLE = {
    "title": ["Red Hat", "Blue Hat", "Wool Scarf"],
    "brand": ["Acme", None, "Acme"],
    "categories": ["Hats, Wool", "Hats", None],
    "price": [None, "12", None],
}
FIELDS = ("title", "brand", "categories", "price")


def items() -> ItemTable:
    return ItemTable(np.array(["a", "b", "c"], object), {name: np.array(column, object) for name, column in TABLE.items()})


def vocabulary(**changes: Any) -> tuple[Vocabulary, Any]:
    chosen = config(text={"fields": FIELDS}, prompts={"item_max_len": 60}, **changes)
    return Vocabulary.own(item_lines(items(), chosen.text), n_pieces=300, marks=marks(chosen.text, chosen.prompts)), chosen


def words(made: Vocabulary, prompt: np.ndarray) -> list[str]:
    return [made.piece(int(token)) for token in prompt]


def ids(made: Vocabulary) -> Ragged:
    names = (["▁hats", "▁red"], ["▁hats", "▁blue"], ["▁scarf"])
    return Ragged.from_lists([[made.token(piece) or -1 for piece in pieces] for pieces in names])


def test_an_item_line_is_lower_case_and_says_or_skips_what_is_missing() -> None:
    def lines(table: ItemTable, missing: str, **changes: Any) -> list[str]:
        return item_lines(table, config(text={"fields": FIELDS, "missing": missing, **changes}).text)

    assert lines(items(), "skip")[1] == "title: blue hat; categories: hats; price: 12"
    assert lines(items(), "na")[1] == "title: blue hat; brand: na; categories: hats; price: 12"
    assert lines(items(), "skip", names={"title": "name"})[1] == "name: blue hat; categories: hats; price: 12"
    named_na = ItemTable(np.array(["a"], object), {"title": np.array(["NA"], object)})
    assert lines(named_na, "skip") == ["title: na"]


def test_an_item_prompt_is_id_then_similar_items_then_text() -> None:
    made, chosen = vocabulary()
    neighbours = np.array([[1, 2], [0, 2], [1, 0]], np.int32)
    prompts = item_prompts(items(), ids(made), neighbours, made, chosen.text, chosen.prompts)
    assert words(made, prompts[0]) == [
        *("item: ", "▁hats", "▁red", "; similar items: ", "▁hats", "▁blue", ", ", "▁scarf"),
        *("; title: ", "▁red", "▁hat", "; brand: ", "▁acme", "; categories: ", "▁hats", ",", "▁wool", "</s>"),
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"prompts.id_linking": False}, ["similar items: ", "▁scarf", "; title: ", "▁red"]),
        ({"prompts.id_linking": False, "neighbours.count": 0}, ["title: ", "▁red", "▁hat", "; brand: "]),
        ({"neighbours.count": 0}, ["item: ", "▁hats", "▁red", "; title: "]),
    ],
)
def test_parts_can_be_left_out(changes: dict[str, Any], expected: list[str]) -> None:
    made, chosen = vocabulary(**changes)
    neighbours = np.array([[2], [2], [0]], np.int32) if chosen.neighbours.count else None
    assert words(made, item_prompts(items(), ids(made), neighbours, made, chosen.text, chosen.prompts)[0])[:4] == expected


def test_long_prompts_are_cut_and_end_with_the_end_token() -> None:
    made, chosen = vocabulary()
    whole = item_prompts(items(), ids(made), None, made, chosen.text, chosen.prompts)[0]
    for limit in (2, 5, len(whole) - 1, len(whole), len(whole) + 1):
        cut = item_prompts(items(), ids(made), None, made, chosen.text, chosen.prompts.model_copy(update={"item_max_len": limit}))[0]
        assert len(cut) == min(limit, len(whole))
        assert cut[-1] == EOS
        assert cut[:-1].tolist() == whole[: len(cut) - 1].tolist()


def test_a_user_prompt_has_the_newest_item_first() -> None:
    table = Ragged.from_lists([[10, 11], [20], [30, 31, 32]])
    make = UserPrompts(table, start=(5, 6), separator=(7,), end=(8,), max_len=100)
    prompts = make(Histories.from_lists([[0, 1, 2], [1], [], [2, 2]]))
    assert [row.tolist() for row in (prompts[n] for n in range(4))] == [
        [5, 6, 30, 31, 32, 7, 20, 7, 10, 11, 8, EOS],
        [5, 6, 20, 8, EOS],
        [5, 6, 8, EOS],
        [5, 6, 30, 31, 32, 7, 30, 31, 32, 8, EOS],
    ]
    short = UserPrompts(table, start=(5, 6), separator=(7,), end=(8,), max_len=6)(Histories.from_lists([[0, 1, 2], [1]]))
    assert [short[n].tolist() for n in range(2)] == [[5, 6, 30, 31, 32, EOS], [5, 6, 20, 8, EOS]]


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_user_prompt_is_what_a_loop_would_write(data: st.DataObject) -> None:
    lists = data.draw(st.lists(st.lists(st.integers(10, 99), min_size=1, max_size=4), min_size=1, max_size=6))
    histories = data.draw(st.lists(st.lists(st.integers(0, len(lists) - 1), max_size=5), min_size=1, max_size=5))
    start, separator, end = (tuple(data.draw(st.lists(st.integers(2, 9), max_size=2))) for _ in range(3))
    limit = data.draw(st.integers(2, 20))
    prompts = UserPrompts(Ragged.from_lists(lists), start, separator, end, limit)(Histories.from_lists(histories))
    for row, history in enumerate(histories):
        expected = list(start)
        for place, item in enumerate(reversed(history)):
            expected += [*(separator if place else ()), *lists[item]]
        expected += end
        assert prompts[row].tolist() == [*expected[: limit - 1], EOS]


@settings(deadline=None, max_examples=100)
@given(
    lengths=st.lists(st.integers(0, 25), min_size=1, max_size=6),
    max_history=st.integers(1, 6),
    max_targets=st.integers(1, 9),
)
def test_every_target_is_trained_once_with_all_that_precedes_it(lengths: list[int], max_history: int, max_targets: int) -> None:
    lists, n_items = [], 0
    for length in lengths:
        lists.append(list(range(n_items, n_items + length)))
        n_items += length
    windows = stretches(interactions(lists, max(n_items, 1)), max_history, max_targets)
    assert (windows.n_targets <= max_targets).all()
    pairs = []
    for row in range(len(windows)):
        item, target = windows.padded(np.array([row]), -1)
        for slot in np.flatnonzero(target[0] >= 0).tolist():
            pairs.append((tuple(item[0, max(0, slot + 1 - max_history) : slot + 1].tolist()), int(target[0, slot])))
    expected = [(tuple(row[max(0, place - max_history) : place]), row[place]) for row in lists for place in range(1, len(row))]
    assert sorted(pairs) == sorted(expected)


@pytest.mark.parametrize("packing", ["user", "none"])
def test_a_user_of_n_events_gives_n_minus_3_targets_and_shows_no_held_out_item(packing: str) -> None:
    # Events 0 .. n - 1; the last two are held out, so the train part ends before them.
    n_events = [4, 5, 9, 14]
    whole = [list(range(10 * user, 10 * user + n)) for user, n in enumerate(n_events[:3])] + [list(range(40, 54))]
    gram = model(examples={"packing": packing})
    examples = Examples(gram.config, interactions([row[:-2] for row in whole], N_ITEMS), gram._user_prompts)
    assert examples.n_possible == sum(n - 3 for n in n_events)
    read = examples.batch(np.arange(len(examples.windows)))
    held_out = {item for row in whole for item in row[-2:]}
    assert not held_out & set(read.item.tolist())
    assert not held_out & set(read.target_BC[read.target_BC >= 0].tolist())
    assert read.user_prompt is not None
    assert len(read.user_prompt) == examples.n_possible
    tokens_of = {item: set(gram._texts.ids[item].tolist()) for item in range(N_ITEMS)}
    shown = set(read.user_prompt.item.tolist())
    only_held_out = set().union(*(tokens_of[i] for i in held_out)) - set().union(
        *(tokens_of[i] for i in range(N_ITEMS) if i not in held_out)
    )
    assert not shown & only_held_out


def test_an_epoch_may_draw_some_stretches_of_each_user() -> None:
    gram = model(examples={"windows_per_user": 1, "batch_targets": 4}, prompts={"max_history": 2})
    examples = Examples(gram.config, interactions([list(range(30)), [40, 41]], N_ITEMS), gram._user_prompts)
    epochs = [np.concatenate(examples.batches(np.random.default_rng(seed))) for seed in range(20)]
    assert all(sorted(examples.windows.user[rows].tolist()) == [0, 1] for rows in epochs)
    assert len({int(row) for rows in epochs for row in rows}) > 4
    everything = Examples(
        gram.config.model_copy(update={"examples": gram.config.examples.model_copy(update={"windows_per_user": None})}),
        interactions([list(range(30))], N_ITEMS),
        gram._user_prompts,
    )
    assert sum(int(everything.windows.n_targets[rows].sum()) for rows in everything.batches(np.random.default_rng(0))) == 29


def test_a_batch_names_each_item_once() -> None:
    read = batch(model(), [[1, 2, 3, 2], [2, 3]])
    assert read.item.tolist() == [1, 2, 3]
    assert read.place_BJ.tolist() == [[0, 1, 2], [1, -1, -1]]
    assert read.target_BC.tolist() == [[2, 3, 2], [3, -1, -1]]


def save_t5_like(folder: Path) -> Path:
    """A tokenizer of words and pieces with T5's special tokens, whose bar is a token of its own."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = ["▁", "|", "▁|", "▁hats", "▁red", "▁blue", "▁scarf", "▁item", ":", ";", "▁similar", "▁items", ",", "▁title", "▁hat", "▁wool"]
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    scored = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), *((p, -2.0) for p in pieces), *((p, -9.0) for p in letters)]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    fast.save_pretrained(folder)
    return folder


def test_ids_put_in_as_tokens_are_what_the_published_code_gets_with_bars(tmp_path: Path) -> None:
    made = Vocabulary.of_backbone(save_t5_like(tmp_path), 64)
    chosen = config(text={"fields": ("title",)}, prompts={"item_max_len": 60}, backbone={"name": "./backbone"})
    table = ItemTable(np.array(["a", "b", "c"], object), {"title": np.array(["red wool", "hat", "wool hat"], object)})
    prompts = item_prompts(table, ids(made), np.array([[1, 2], [0, 2], [1, 0]], np.int32), made, chosen.text, chosen.prompts)
    # The published way: bars before each ID token, the whole line through the tokenizer, both kinds of bar taken out again.
    line = "item: |▁hats|▁red; similar items: |▁hats|▁blue, |▁scarf; title: red wool"
    bars = {made.token("|"), made.token("▁|")}
    published = [int(token) for token in made.encode([line.replace("|▁", "| ")])[0] if token not in bars]
    assert words(made, prompts[0]) == [*(made.piece(token) for token in published), "</s>"]
