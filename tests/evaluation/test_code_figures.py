"""Figures about item codes, computed by hand."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbench.core import BadData
from recbench.evaluation import CODES_FILE, CodeTable, code_figures, main_categories, read_codes

# Six items, two levels of meaning and one that tells apart. Item 4 and 5 share (1, 1).
CODE = np.array([[0, 0, 0], [0, 1, 0], [0, 2, 0], [0, 2, 1], [1, 1, 0], [1, 1, 1]], np.int32)
CATEGORIES = ["a", "a", "b", "b", "b", None]


def table(code: np.ndarray[Any, Any] = CODE, sizes: tuple[int, ...] = (4, 3, 2), **changes: Any) -> CodeTable:
    return CodeTable(code, sizes, **({"n_extra": 1, "unexplained": (0.5, 0.25)} | changes))


def test_figures_by_hand() -> None:
    figures = code_figures(table())
    expected = {
        "codes_items": 6,
        "codes_levels": 3,
        "codes_extra": 1,
        # Level 1: values 0 (four items) and 1 (two) of 4.
        "codes_size_1": 4,
        "codes_used_1": 2,
        "codes_usage_1": 0.5,
        "codes_entropy_1": 2 / 3 * np.log2(3 / 2) + 1 / 3 * np.log2(3),
        "codes_perplexity_1": 3 / 2 ** (2 / 3),
        "codes_prefixes_1": 2,
        "codes_items_per_prefix_1": 3,
        "codes_largest_1": 4,
        "codes_unexplained_1": 0.5,
        # Level 2: 0 once, 1 three times, 2 twice; prefixes 00 01 02 11.
        "codes_used_2": 3,
        "codes_usage_2": 1,
        "codes_entropy_2": np.log2(6) / 6 + np.log2(2) / 2 + np.log2(3) / 3,
        "codes_prefixes_2": 4,
        "codes_items_per_prefix_2": 1.5,
        "codes_largest_2": 2,
        "codes_unexplained_2": 0.25,
        "codes_prefixes_3": 6,
        # 02 and 11 hold two items each.
        "codes_distinct": 4,
        "codes_colliding_share": 4 / 6,
        "codes_largest_group": 2,
        "codes_last_nonzero_share": 2 / 6,
        "codes_unique": 1,
        "codes_prefix_of_another": 0,
    }
    for name, value in expected.items():
        assert figures[name] == pytest.approx(value), name
    assert "codes_unexplained_3" not in figures
    assert not [name for name in figures if "purity" in name]
    assert not {"codes_distinct_tokens", "codes_repeated", "codes_numbered"} & set(figures)


def test_purity_by_hand() -> None:
    """The item without a category counts in no group; a shuffle of the categories keeps the groups."""
    figures = code_figures(table(), CATEGORIES)
    # Level 1: prefix 0 holds a a b b, prefix 1 holds b. Level 2: a | a | b b | b.
    assert figures["codes_purity_1"] == pytest.approx(3 / 5)
    assert figures["codes_purity_2"] == 1
    # By hand for the shuffle that the fixed seed makes of a a b b b.
    a, b, c, d, e = np.random.default_rng(0).permutation([0, 0, 1, 1, 1]).tolist()
    most = max(sum([a, b, c, d]), 4 - sum([a, b, c, d])) + 1
    assert figures["codes_purity_random_1"] == pytest.approx(most / 5)
    assert figures["codes_purity_random_2"] == pytest.approx((2 + (2 if c == d else 1) + 1) / 5)
    assert e in {0, 1}
    assert not [name for name in code_figures(table(), [None] * 6) if "purity" in name]


def test_codes_that_follow_categories_are_purer_than_chance() -> None:
    rng = np.random.default_rng(0)
    category = rng.integers(0, 5, 400)
    code = np.stack([category * 3 + rng.integers(0, 3, 400), rng.integers(0, 4, 400)], axis=1).astype(np.int32)
    figures = code_figures(CodeTable(code, (15, 4)), [f"category {number}" for number in category])
    assert figures["codes_purity_1"] == 1
    assert 0.2 < figures["codes_purity_random_1"] < 0.5
    by_chance = code_figures(CodeTable(rng.permutation(code), (15, 4)), [f"category {number}" for number in category])
    assert by_chance["codes_purity_1"] == pytest.approx(by_chance["codes_purity_random_1"], abs=0.07)


def test_codes_of_unequal_length() -> None:
    code = np.array([[0, -1], [1, 0], [1, 1]], np.int32)
    figures = code_figures(CodeTable(code, (2, 2)), ["a", "a", "b"])
    assert figures["codes_prefixes_1"] == 2
    assert figures["codes_prefixes_2"] == 2
    assert figures["codes_items_per_prefix_2"] == 1
    assert figures["codes_used_2"] == 2
    assert figures["codes_purity_1"] == pytest.approx(2 / 3)
    assert figures["codes_purity_2"] == 1
    assert figures["codes_distinct"] == 3


# Lexical IDs of eight items in seven tokens; the numbers are the tokens 0 and 1. Items 0 and 1 share 2 3 4, items 2 and 3 share 2 3
# (a level was skipped), item 4 begins as they do, item 5 has a token twice, item 6 has the token 0 as a word and begins item 7.
LEXICAL = [[2, 3, 4, 0], [2, 3, 4, 1], [2, 3, 0], [2, 3, 1], [2, 3, 5], [6, 2, 6], [5, 0], [5, 0, 4]]
IS_NUMBERED = [True, True, True, True, False, False, False, False]


def lexical(codes: list[list[int]], is_numbered: list[bool] | None, *, size: int = 7, **changes: Any) -> CodeTable:
    longest = max(map(len, codes))
    code = np.array([row + [-1] * (longest - len(row)) for row in codes], np.int32)
    flags = None if is_numbered is None else np.array(is_numbered, bool)
    return CodeTable(code, (size,) * longest, **({"is_numbered": flags, "shared_tokens": True} | changes))


def test_figures_of_lexical_ids_by_hand() -> None:
    figures = code_figures(lexical(LEXICAL, IS_NUMBERED, n_extra=1))
    expected = {
        # Words alone: 2 3 4 twice, 2 3 twice, 2 3 5, 6 2 6, 5 0, 5 0 4.
        "codes_distinct": 6,
        "codes_colliding_share": 4 / 8,
        "codes_largest_group": 2,
        "codes_numbered": 4,
        # 1 stands only as a number.
        "codes_distinct_tokens": 6,
        "codes_repeated": 1,
        "codes_unique": 1,
        "codes_prefix_of_another": 1,
        "codes_prefixes_1": 3,
        "codes_largest_1": 5,
        # 2 3, 6 2, 5 0.
        "codes_prefixes_2": 3,
        "codes_largest_2": 5,
        # 2 3 4, 2 3 0, 2 3 1, 2 3 5, 6 2 6, 5 0 4.
        "codes_prefixes_3": 6,
        "codes_largest_3": 2,
        "codes_prefixes_4": 2,
        "codes_largest_4": 1,
    }
    assert {name: figures[name] for name in expected} == expected


def test_a_number_that_is_nobodys_word_is_no_repetition() -> None:
    """The number 3 behind the word 3; and an ID that is a number alone has no words at all."""
    figures = code_figures(lexical([[3, 3], [3, 4], [0]], [True, True, True]))
    assert (figures["codes_repeated"], figures["codes_distinct_tokens"], figures["codes_distinct"]) == (0, 1, 2)
    unknown = code_figures(lexical([[3, 3], [3, 4], [0]], None))
    assert (unknown["codes_repeated"], unknown["codes_distinct_tokens"], unknown["codes_distinct"]) == (1, 3, 3)
    assert "codes_numbered" not in unknown
    by_level = code_figures(lexical([[3, 3], [3, 4], [0]], None, n_extra=1))
    assert (by_level["codes_repeated"], by_level["codes_distinct_tokens"], by_level["codes_distinct"]) == (0, 2, 2)


@given(
    codes=st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=1, max_size=12),
    numbered=st.lists(st.booleans(), min_size=12, max_size=12),
)
def test_figures_are_those_of_the_lists(codes: list[list[int]], numbered: list[bool]) -> None:
    flags = numbered[: len(codes)]
    figures = code_figures(lexical(codes, flags, size=4))
    words = [tuple(code[:-1] if flag else code) for code, flag in zip(codes, flags, strict=True)]
    groups = Counter(words)
    expected = {
        "unique": len(set(map(tuple, codes))) == len(codes),
        "prefix_of_another": sum(any(a == b[: len(a)] and len(a) < len(b) for b in codes) for a in codes),
        "numbered": sum(flags),
        "distinct_tokens": len({token for word in words for token in word}),
        "repeated": sum(len(set(word)) < len(word) for word in words),
        "distinct": len(groups),
        "colliding_share": sum(count for count in groups.values() if count > 1) / len(codes),
        "largest_group": max(groups.values()),
    }
    for level in range(1, max(map(len, codes)) + 1):
        prefixes = Counter(tuple(code[:level]) for code in codes if len(code) >= level)
        expected |= {f"prefixes_{level}": len(prefixes), f"largest_{level}": max(prefixes.values())}
    assert {name: figures[f"codes_{name}"] for name in expected} == expected


def test_the_category_is_the_first_part_in_which_items_differ() -> None:
    assert main_categories(["Beauty, Makeup, Eyes", "Beauty, Skin Care", None, "Beauty"]) == ["Makeup", "Skin Care", None, None]
    assert main_categories(["Drama, War", "Comedy"]) == ["Drama", "Comedy"]
    assert main_categories(["Only", "Only"]) == [None, None]
    assert main_categories([None, ""]) == [None, None]
    assert main_categories([]) == []


def write(path: Path, item: list[int], code: list[list[int]], notes: dict[str, Any] | None = None, **more: list[Any]) -> Path:
    columns = {"item": pa.array(item, pa.int32()), "code": pa.array(code, pa.list_(pa.int32()))} | more
    metadata = {f"recbench.{name}": json.dumps(value) for name, value in (notes or {}).items()}
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)
    return path


def test_a_file_without_notes_will_do(tmp_path: Path) -> None:
    found = read_codes(write(tmp_path / CODES_FILE, [0, 1, 2], [[2, 1], [0], [1, 4]]))
    assert found.code.tolist() == [[2, 1], [0, -1], [1, 4]]
    assert (found.level_sizes, found.n_extra, found.unexplained) == ((3, 5), 0, ())
    assert found.is_numbered is None
    assert not found.shared_tokens


def test_a_file_may_say_which_codes_end_in_a_number(tmp_path: Path) -> None:
    path = tmp_path / CODES_FILE
    found = read_codes(write(path, [0, 1], [[2, 1], [0]], {"shared_tokens": True}, is_numbered=[True, False], other=["a", "b"]))
    assert found.is_numbered is not None
    assert found.is_numbered.tolist() == [True, False]
    assert found.shared_tokens
    for column in ([True, None], [1, 0], ["yes", "no"]):
        with pytest.raises(BadData, match=rf"{CODES_FILE}: the column is_numbered is true or false for each item"):
            read_codes(write(path, [0, 1], [[2, 1], [0]], is_numbered=column))
    with pytest.raises(BadData, match=f"{CODES_FILE}.*shared_tokens"):
        read_codes(write(path, [0, 1], [[2, 1], [0]], {"shared_tokens": "perhaps"}))


@pytest.mark.parametrize(
    ("item", "code", "notes", "words"),
    [
        ([0, 2], [[1], [1]], {}, "items must run from 0 on"),
        ([], [], {}, "items must run from 0 on"),
        ([0], [[]], {}, "at least one number"),
        ([0, 1], [[1], []], {}, "at least one number"),
        ([0], [[-1]], {}, "none below 0"),
        ([0], [[5]], {"level_sizes": [5]}, r"sizes \(5,\).*its codes need \(6,\)"),
        ([0], [[5]], {"level_sizes": [6, 6]}, "its codes need"),
        ([0], [[5]], {"level_sizes": "many"}, "level_sizes"),
        ([0], [[5]], {"n_extra": 2}, "its notes"),
    ],
)
def test_a_file_that_cannot_be_is_named(tmp_path: Path, item: Any, code: Any, notes: Any, words: str) -> None:
    with pytest.raises(BadData, match=f"{CODES_FILE}.*{words}"):
        read_codes(write(tmp_path / CODES_FILE, item, code, notes))


def test_what_is_no_such_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / CODES_FILE
    with pytest.raises(BadData, match="there is no such file"):
        read_codes(path)
    path.write_bytes(b"PAR1nothing")
    with pytest.raises(BadData, match=CODES_FILE):
        read_codes(path)
    pq.write_table(pa.table({"item": [0], "code": [3]}), path)
    with pytest.raises(BadData, match="a list of int32"):
        read_codes(path)
