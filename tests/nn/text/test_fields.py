"""Columns of text that the data set lacks: refused, or left out where the settings say so."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbench import registry
from recbench.core import BadConfig, BadRequest, ItemTable
from recbench.nn.text import TextFields, TextSettings, held_fields, text_vectors
from recbench.testing import LightContext, interactions

LOG = logging.getLogger("fields")
COLUMNS: dict[str, list[str | None]] = {"title": ["red hat", None], "categories": ["hats", "ropes"], "brand": [None, None]}


def table(columns: dict[str, list[str | None]] = COLUMNS) -> ItemTable:
    return ItemTable(np.array(["a", "b"], object), {name: np.array(column, object) for name, column in columns.items()})


@pytest.mark.parametrize(
    ("fields", "optional", "message"),
    [
        (
            ["title", "category"],
            [],
            r"names 'category', which is no column of this data set\. Did you mean 'categories'\? .*title, categories\.",
        ),
        (["title", "brand"], [], r"names 'brand', which is empty for every item of this data set\. Columns with text: title, categories\."),
        (["title", "tag", "brand"], ["brand"], r"names 'tag', .*--set 'text\.optional_fields=\[\"tag\", \"brand\"\]'"),
    ],
)
def test_a_column_that_is_lacking_or_empty_is_refused(fields: list[str], optional: list[str], message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        held_fields(table(), TextFields(fields=tuple(fields), optional_fields=tuple(optional)), LOG)


def test_what_is_optional_is_left_out_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    settings = TextFields(fields=("price", "categories", "brand", "title"), optional_fields=("brand", "price", "description"))
    with caplog.at_level(logging.INFO):
        assert held_fields(table(), settings, LOG) == ("categories", "title")
    assert "the data set has no price, brand; categories, title is read" in caplog.text
    with pytest.raises(BadRequest, match="Item text is read from brand, and no item of this data set has a value in any of them"):
        held_fields(table(), TextFields(fields=("brand",), optional_fields=("brand",)), LOG)


@given(
    present=st.sets(st.sampled_from(("title", "brand", "categories", "price"))),
    fields=st.lists(st.sampled_from(("title", "brand", "categories", "price", "tag")), min_size=1, max_size=5, unique=True),
    optional=st.sets(st.sampled_from(("title", "brand", "categories", "price", "tag"))),
)
def test_every_column_is_read_optional_or_refused(present: set[str], fields: list[str], optional: set[str]) -> None:
    settings = TextFields(fields=tuple(fields), optional_fields=tuple(sorted(optional)))
    items = table({name: ["x", None] for name in present})
    lacking = [name for name in fields if name not in present]
    if len(lacking) == len(fields) or set(lacking) - optional:
        with pytest.raises(BadRequest):
            held_fields(items, settings, LOG)
    else:
        assert held_fields(items, settings, LOG) == tuple(name for name in fields if name in present)


def test_text_vectors_ask_for_their_columns(tmp_path: Path) -> None:
    context = LightContext(interactions([[0, 1]], 2), tmp_path, COLUMNS)
    with pytest.raises(BadConfig, match="names 'brand'"):
        text_vectors(context, TextSettings(encoder="tfidf-svd"))
    settings = TextSettings(encoder="tfidf-svd", fields=("title", "brand"), optional_fields=("brand",))
    found = text_vectors(context, settings)
    assert found.vectors[0].any()
    # One text only: nothing varies, and nothing of it is lost.
    assert json.loads((found.folder / "facts.json").read_text())["explained_variance"] == 1.0


@pytest.mark.parametrize(
    "name", ["actionpiece", "clhe", "diffgrm", "gram", "hllm", "lc-rec", "letter", "prorec", "rpg", "text-knn", "tiger"]
)
def test_presets_for_a_machine_read_data_that_have_titles_only(name: str) -> None:
    plugin = registry.models().load(name)
    for preset in {plugin.card.default.cpu, plugin.card.default.cuda, "smoke"}:
        settings = plugin.resolve(preset).parts["text"]
        assert isinstance(settings, TextFields)
        assert held_fields(table({"title": ["a", "b"]}), settings, LOG) == ("title",)
