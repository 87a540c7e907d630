"""Figures about item codes, computed by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

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
        "codes_unexplained_1": 0.5,
        # Level 2: 0 once, 1 three times, 2 twice; prefixes 00 01 02 11.
        "codes_used_2": 3,
        "codes_usage_2": 1,
        "codes_entropy_2": np.log2(6) / 6 + np.log2(2) / 2 + np.log2(3) / 3,
        "codes_prefixes_2": 4,
        "codes_items_per_prefix_2": 1.5,
        "codes_unexplained_2": 0.25,
        "codes_prefixes_3": 6,
        # 02 and 11 hold two items each.
        "codes_distinct": 4,
        "codes_colliding_share": 4 / 6,
        "codes_largest_group": 2,
        "codes_last_nonzero_share": 2 / 6,
    }
    for name, value in expected.items():
        assert figures[name] == pytest.approx(value), name
    assert "codes_unexplained_3" not in figures
    assert not [name for name in figures if "purity" in name]


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


def test_the_category_is_the_first_part_in_which_items_differ() -> None:
    assert main_categories(["Beauty, Makeup, Eyes", "Beauty, Skin Care", None, "Beauty"]) == ["Makeup", "Skin Care", None, None]
    assert main_categories(["Drama, War", "Comedy"]) == ["Drama", "Comedy"]
    assert main_categories(["Only", "Only"]) == [None, None]
    assert main_categories([None, ""]) == [None, None]
    assert main_categories([]) == []


def write(path: Path, item: list[int], code: list[list[int]], notes: dict[str, Any] | None = None) -> Path:
    columns = {"item": pa.array(item, pa.int32()), "code": pa.array(code, pa.list_(pa.int32()))}
    metadata = {f"recbench.{name}": json.dumps(value) for name, value in (notes or {}).items()}
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)
    return path


def test_a_file_without_notes_will_do(tmp_path: Path) -> None:
    found = read_codes(write(tmp_path / CODES_FILE, [0, 1, 2], [[2, 1], [0], [1, 4]]))
    assert found.code.tolist() == [[2, 1], [0, -1], [1, 4]]
    assert (found.level_sizes, found.n_extra, found.unexplained) == ((3, 5), 0, ())


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
