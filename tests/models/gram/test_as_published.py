"""What presets paper* read and ask, held against the published code, and backbones that are no T5."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import T5Config, T5ForConditionalGeneration

from recbench.core import BadConfig, ItemTable
from recbench.testing import LightContext, interactions
from recbench_models.gram import PLUGIN
from recbench_models.gram.config import GRAMConfig
from recbench_models.gram.preparation import prepare
from recbench_models.gram.prompts import item_lines
from recbench_models.gram.recommender import _pretrained

PAPER = [name for name in PLUGIN.card.presets if name.startswith("paper")]
TITLES: list[str | None] = ["Red Hat", "Blue Hat", "Wool Scarf"]


def settings(preset: str, **changes: Any) -> GRAMConfig:
    found = PLUGIN.resolve(preset, None, changes)
    assert isinstance(found, GRAMConfig)
    return found


@pytest.mark.parametrize("preset", PAPER)
def test_the_user_prompt_is_the_published_question(preset: str) -> None:
    asked = settings(preset)
    assert (asked.prompts.user_start, asked.prompts.user_separator, asked.prompts.user_end) == (
        "What would user purchase after ",
        " ; ",
        " ?",
    )


def test_the_text_of_yelp_has_names_and_categories() -> None:
    columns = {"title": TITLES, "categories": ["Hats", None, "Scarves"]}
    items = ItemTable(np.array(["a", "b", "c"], object), {name: np.array(column, object) for name, column in columns.items()})
    assert item_lines(items, settings("paper-yelp").text) == [
        "name: red hat; categories: hats",
        "name: blue hat; categories: na",
        "name: wool scarf; categories: scarves",
    ]


def smoke(tmp_path: Path, columns: dict[str, list[str | None]], **changes: Any) -> Any:
    context = LightContext(interactions([[0, 1, 2]], 3), tmp_path, columns)
    quick = {"neighbours.count": 0, "ids.hierarchy": False, "backbone.vocabulary_size": 200, "prompts.item_max_len": 100}
    return prepare(context, settings("smoke", **quick, **changes))


def test_a_column_that_the_data_set_lacks_is_refused_or_left_out_of_the_prompts(tmp_path: Path) -> None:
    columns = {"title": TITLES, "brand": [None, None, None]}
    with pytest.raises(BadConfig, match=r"text\.fields names 'brand', which is empty for every item"):
        smoke(tmp_path / "strict", columns, text={"fields": ["title", "brand"], "optional_fields": []})
    prepared = smoke(tmp_path / "optional", columns, text={"fields": ["title", "brand"], "missing": "na"})
    words = [prepared.vocabulary.piece(int(token)) for token in prepared.prompts[0]]
    assert "; title: " in words
    assert "; brand: " not in words


def test_an_optional_column_changes_no_token_where_it_is_skipped(tmp_path: Path) -> None:
    """Rows of preset cpu keep their meaning: all its columns stay in the vocabulary, whether the data set has them or not."""
    plain, empty = (smoke(tmp_path / name, {"title": TITLES} | more) for name, more in (("plain", {}), ("empty", {"brand": [None] * 3})))
    for field in dataclasses.fields(plain.prompts):
        np.testing.assert_array_equal(getattr(plain.prompts, field.name), getattr(empty.prompts, field.name))
    assert plain.vocabulary.size == empty.vocabulary.size
    assert all(plain.vocabulary.mark(f"; {name}: ") for name in settings("smoke").text.fields)


@pytest.mark.parametrize("ids", [{"decoder_start_token_id": 2}, {"pad_token_id": 3}, {"eos_token_id": 2}])
def test_a_backbone_that_pads_ends_or_starts_otherwise_is_refused(tmp_path: Path, ids: dict[str, int]) -> None:
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2, "decoder_start_token_id": 0}
    T5ForConditionalGeneration(T5Config(vocab_size=30, **{**sizes, **ids})).save_pretrained(tmp_path)
    with pytest.raises(BadConfig, match=r"pads, ends and starts with the tokens \(\d, \d, \d\); GRAM needs \(0, 1, 0\)"):
        _pretrained(settings("smoke", backbone={"name": str(tmp_path)}).backbone)
