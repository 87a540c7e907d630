"""Attributes of items: values of columns, numbered."""

import logging
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbench.core import BadConfig, BadData, BadRequest, ItemTable
from recbench.nn.text import AttributeFields, ItemAttributes, item_attributes

LOG = logging.getLogger("attributes")
COLUMNS: dict[str, list[str | None]] = {
    "categories": ["Beauty, Hair, Gels", "Beauty", "Beauty, Skin, Hair, Skin", None],
    "brand": ["Giovanni, Inc.", None, "Hair", " "],
}


def table(columns: dict[str, list[str | None]] = COLUMNS) -> ItemTable:
    n_items = len(next(iter(columns.values())))
    ids = np.array([f"i{row}" for row in range(n_items)], object)
    return ItemTable(ids, {name: np.array(values, object) for name, values in columns.items()})


def lists(attributes: ItemAttributes) -> dict[str, list[list[int]]]:
    return {name: [part[row].tolist() for row in range(len(part))] for name, part in zip(attributes.fields, attributes.lists, strict=True)}


def test_numbers_follow_first_occurrence_and_the_root_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        attributes = item_attributes(table(), AttributeFields(), LOG)
    assert attributes.values == ("Hair", "Gels", "Giovanni, Inc.", "Skin")
    assert lists(attributes) == {"categories": [[0, 1], [], [3, 0], []], "brand": [[2], [], [0], []]}
    joined = attributes.joined()
    assert [joined[row].tolist() for row in range(4)] == [[0, 1, 2], [], [0, 3], []]
    assert "all categories have Beauty, which is left out" in caplog.text
    assert "attributes: 4, 1.2 per item, from categories, brand" in caplog.text


def test_columns_are_those_that_the_settings_name() -> None:
    both = item_attributes(table(), AttributeFields(fields=("brand", "categories"), lists=()), LOG)
    assert both.fields == ("brand", "categories")
    assert both.values == ("Giovanni, Inc.", "Beauty, Hair, Gels", "Beauty", "Hair", "Beauty, Skin, Hair, Skin")
    assert item_attributes(table({"categories": ["a, b", "b"]}), AttributeFields(), LOG).fields == ("categories",)


def test_a_data_set_without_attributes_is_refused() -> None:
    with pytest.raises(BadRequest, match=r"no item .* has a value in any of them\. Choose other columns with --set attributes\.fields"):
        item_attributes(table({"title": ["a", "b"]}), AttributeFields(), LOG)
    with pytest.raises(BadRequest, match=r"from categories, and no item of this data set has one there that others lack"):
        item_attributes(table({"categories": ["All, ", "All"]}), AttributeFields(), LOG)
    with pytest.raises(BadRequest, match="no item of this data set has one there"):
        item_attributes(table({"categories": [" , ", " "]}), AttributeFields(), LOG)
    with pytest.raises(BadConfig, match=r"attributes\.fields names 'genre'.* --set 'attributes\.optional_fields=\[\"genre\"\]'"):
        item_attributes(table(), AttributeFields(fields=("brand", "genre")), LOG)


@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from("abcdé,"), max_size=4), st.lists(st.sampled_from("ax"), max_size=1)), min_size=1, max_size=6
    )
)
def test_saved_attributes_come_back(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[list[str], list[str]]]) -> None:
    attributes = ItemAttributes.of({"tags": [tags for tags, _ in rows], "maker": [maker for _, maker in rows]})
    assert [[attributes.values[n] for n in attributes.lists[0][row]] for row in range(len(rows))] == [
        list(dict.fromkeys(tags)) for tags, _ in rows
    ]
    joined = attributes.joined()
    for row, (tags, maker) in enumerate(rows):
        assert [attributes.values[n] for n in joined[row]] == [v for v in attributes.values if v in {*tags, *maker}]
    folder = tmp_path_factory.mktemp("saved")
    attributes.save(folder)
    again = ItemAttributes.load(folder, len(rows))
    assert (again.fields, again.values, lists(again)) == (attributes.fields, attributes.values, lists(attributes))


def test_a_file_that_holds_no_attributes_is_named(tmp_path: Path) -> None:
    path = tmp_path / "attributes.parquet"
    with pytest.raises(BadData, match=r"attributes\.parquet holds no attributes of these items: .* Restore it, or make the run again"):
        ItemAttributes.load(tmp_path, 2)
    ItemAttributes.of({"tags": [["a"], ["b"]]}).save(tmp_path)
    with pytest.raises(BadData, match="2 rows with 1 columns, for 3 items"):
        ItemAttributes.load(tmp_path, 3)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadData, match="holds no attributes"):
        ItemAttributes.load(tmp_path, 2)
    for column in (pa.array(["a", "b"]), pa.array([["a"], None])):
        pq.write_table(pa.table({"tags": column}), path)
        with pytest.raises(BadData, match="holds no attributes"):
            ItemAttributes.load(tmp_path, 2)


@pytest.mark.real_data
def test_beauty_has_the_attributes_of_the_published_file() -> None:
    columns = pq.read_table(Path(os.environ["RECBENCH_DATA"]) / "beauty" / "items.parquet").select(["categories", "brand"]).to_pydict()
    attributes = item_attributes(table(columns), AttributeFields(), LOG)
    assert len(attributes.values) == 637
    assert len(attributes.joined().item) / len(attributes) == pytest.approx(3.7, abs=0.05)
