"""Product codes as a stage: what they depend on, and what becomes of items of one code."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from recbench.nn.codes.catalogue import ItemCodes
from recbench.nn.codes.product_stage import product_codes
from recbench.nn.codes.quantize.settings import ProductSettings
from recbench.testing import LightContext, interactions

SMALL = ProductSettings(width=6, n_digits=3, codebook_size=3, rotation="none")
N_ITEMS = 90


def vectors() -> np.ndarray[Any, Any]:
    """Some of them equal, and few enough values that others share a code."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(80, 10)).astype(np.float32)[np.minimum(np.arange(N_ITEMS), 79)]


def codes(folder: Path, train_items: list[int], **changes: Any) -> ItemCodes:
    context = LightContext(interactions([train_items], N_ITEMS), folder)
    return product_codes(context, vectors(), SMALL.model_copy(update=changes)).codes


def test_items_may_share_a_code_and_equal_vectors_do(tmp_path: Path) -> None:
    found = codes(tmp_path, list(range(N_ITEMS)))
    assert found.code.shape == (N_ITEMS, 3)
    assert found.level_sizes == (3, 3, 3)
    assert found.n_extra == 0
    assert len(np.unique(found.code[79:], axis=0)) == 1
    assert len(np.unique(found.code, axis=0)) <= 27
    assert 1.0 > found.unexplained[0] > found.unexplained[1] > found.unexplained[2] > 0.0


def test_the_train_part_counts_only_where_the_settings_say_so(tmp_path: Path) -> None:
    few, all_items = list(range(30)), list(range(N_ITEMS))
    for changes, is_read in (({}, True), ({"trained_on": "all"}, False), ({"trained_on": "all", "whitened_on": "train"}, True)):
        found = [codes(tmp_path, items, **changes).code for items in (few, all_items)]
        assert (found[0] != found[1]).any() == is_read, changes
    order = [codes(tmp_path, items).code for items in (few, few[::-1] * 2)]
    np.testing.assert_array_equal(*order)


def test_codes_are_made_unique_by_a_number(tmp_path: Path) -> None:
    shared, numbered = (codes(tmp_path, list(range(N_ITEMS)), collisions=name) for name in ("keep", "number"))
    np.testing.assert_array_equal(numbered.meaning(), shared.code)
    assert len(np.unique(numbered.code, axis=0)) == N_ITEMS


def test_codes_are_made_unique_by_reassignment(tmp_path: Path) -> None:
    wide = {"codebook_size": 60, "n_digits": 2}
    shared, moved = (codes(tmp_path, list(range(N_ITEMS)), collisions=name, **wide) for name in ("keep", "reassign"))
    assert len(np.unique(shared.code, axis=0)) < N_ITEMS
    assert len(np.unique(moved.code, axis=0)) == N_ITEMS
    assert moved.n_levels == 2
    np.testing.assert_array_equal(moved.code[:, 0], shared.code[:, 0])
    n_moved = np.count_nonzero(moved.code[:, 1] != shared.code[:, 1])
    assert n_moved == N_ITEMS - len(np.unique(shared.code, axis=0)), "as many as there are too many"


def test_the_key_holds_what_shapes_the_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = []
    kept = LightContext.common_stage

    def watched(self: LightContext, name: str, build: Any, **key: Any) -> Path:
        keys.append((name, key["config"], list(key["inputs"])))
        return kept(self, name, build)

    monkeypatch.setattr(LightContext, "common_stage", watched)
    for changes in ({}, {"rounds": 7}, {"trained_on": "all"}, {"rotation": "opq", "rounds": 2}, {"seed": 1}):
        codes(tmp_path, [0, 1, 2, 3, 4], **changes)
    codes(tmp_path, [0, 1, 2, 3, 5])
    assert keys[0] == keys[1], "without a rotation nobody reads how often it is fitted"
    assert all(keys[0] != other for other in keys[2:])
    assert keys[2][2] == keys[0][2][:1], "the train part is no input where it is not read"


def test_a_width_that_the_digits_do_not_divide_is_refused() -> None:
    with pytest.raises(ValidationError, match="width=10 is not a multiple of n_digits=4"):
        ProductSettings(width=10, n_digits=4)
