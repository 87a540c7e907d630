"""Folders of bundles: formats, vectors joined by id, and files with faults."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbench.core import BadConfig, BadData, DataUnavailable
from recbench.core.features import Features
from recbench.core.ragged import Histories
from recbench.data import Dataset, dataset_card, make_split
from recbench.data.folders import is_ready, ready_files
from recbench.data.reader import RawFeatures, RawSide, string_array
from recbench.data.side import side_tables
from recbench.tasks import BUNDLE, task_of_card
from tests.data.sets_case import random_tables, table_of

Write = Callable[..., Path]
Read = Callable[..., Dataset]

BUNDLES = table_of({"one": ["2", "10", "a"], "two": ["a", "b", "2"]})
"""Their items in the order of rows: 10, 2, a, b."""


def write_vectors(folder: Path, ids: list[str], matrix: Any, *, ending: str = "npy", name: str = "image") -> None:
    """A file of vectors, with one of ids where the format has none."""
    (folder / "features").mkdir(exist_ok=True)
    if ending == "parquet":
        rows = [list(map(float, row)) for row in matrix]
        pq.write_table(pa.table({"item_id": ids, "vector": rows}), folder / "features" / f"{name}.parquet")
        return
    np.save(folder / "features" / f"{name}.npy", matrix)
    (folder / "features" / f"{name}.ids.txt").write_text("".join(f"{item}\n" for item in ids), encoding="utf-8")


def image_of(dataset: Dataset) -> Features:
    assert dataset.side is not None
    return dataset.side.features["image"]


def test_parquet_and_csv_are_one_data_set(write_tables: Write, read: Read) -> None:
    tables = random_tables()
    tables["feedback"] = {"user_id": ["u1", "u2", "9"], "item_id": ["i1", "i2", "i1"]}
    tables["items"] = {"item_id": [f"i{number}" for number in range(50)], "title": [f"Thing {number}" for number in range(50)]}
    found = [read(write_tables(tables, name=ending, ending=ending)) for ending in ("parquet", "csv")]
    assert [dataset.card.task for dataset in found] == ["bundle", "bundle"]
    assert {dataset.n_items for dataset in found} == {40}
    first, second = (make_split(dataset, task_of_card(dataset.card).protocol()) for dataset in found)
    assert first.protocol == "session:seed=0"
    assert first.fingerprints == second.fingerprints
    assert (first.fingerprints.feedback is None, first.fingerprints.item_text == second.fingerprints.item_text) == (False, True)


def test_bundles_without_sessions_are_divided_at_random(write_tables: Write, read: Read) -> None:
    dataset = read(write_tables({"bundles": random_tables()["bundles"]}))
    assert str(task_of_card(dataset.card).protocol()) == "random:seed=0"


def test_repeated_items_of_a_bundle_count_once(write_tables: Write, read: Read) -> None:
    dataset = read(write_tables({"bundles": table_of({"one": ["a", "b", "a"], "two": ["b", "a"]})}))
    assert dataset.n_interactions == 4
    assert dataset.notes["items that a bundle repeats, left out"] == 1


@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_vectors_are_joined_by_id_and_never_by_place(ending: str, write_tables: Write, read: Read) -> None:
    folder = write_tables({"bundles": BUNDLES})
    # Rows of the data set are 10, 2, a, b; the item b has no vector, and one is of an item that no bundle holds.
    write_vectors(folder, ["a", "none", "2", "10"], np.array([[1, 2], [9, 9], [3, 4], [5, 6]], np.float64), ending=ending)
    image = image_of(read(folder))
    assert image.matrix.dtype == np.float32
    assert image.matrix.tolist() == [[5, 6], [3, 4], [1, 2], [0, 0]]
    assert image.is_present.tolist() == [True, True, True, False]


@settings(max_examples=25)
@given(order=st.permutations(range(12)), n_known=st.integers(1, 12))
def test_any_order_of_vectors_gives_the_same(order: list[int], n_known: int) -> None:
    ids = string_array(sorted(str(number) for number in range(12)))
    known = order[:n_known]
    raw = RawFeatures([str(number) for number in known], np.array([[number, 1.0] for number in known], np.float32))
    image = side_tables(RawSide(features={"image": raw}), string_array([]), ids, Histories.from_lists([])).features["image"]
    for row, item in enumerate(ids):
        assert image.is_present[row] == (int(item) in known)
        assert image.matrix[row].tolist() == ([int(item), 1.0] if int(item) in known else [0.0, 0.0])


FAULTY: list[tuple[str, Callable[[Path], None], str]] = [
    ("no ids", lambda folder: np.save(folder / "image.npy", np.ones((4, 2))), r"image\.npy does not say whose vectors it holds"),
    (
        "pickle",
        lambda folder: write_vectors(folder.parent, ["a"], np.array([{}], object)),
        r"image\.npy: no file of vectors: Object arrays cannot be loaded",
    ),
    ("other format", lambda folder: (folder / "image.pt").write_bytes(b"PK"), r"image\.pt is no file of vectors that could be read"),
    ("cut off", lambda folder: (folder / "image.parquet").write_bytes(b"PAR1"), r"image\.parquet: no file of vectors"),
    (
        "twice",
        lambda folder: [np.save(folder / "image.npy", np.ones((4, 2))), (folder / "image.parquet").write_bytes(b"")],
        "two files of vectors called 'image'",
    ),
]


@pytest.mark.parametrize(("write", "message"), [fault[1:] for fault in FAULTY], ids=[fault[0] for fault in FAULTY])
def test_a_folder_of_vectors_with_a_fault(write: Callable[[Path], None], message: str, write_tables: Write, read: Read) -> None:
    folder = write_tables({"bundles": BUNDLES})
    (folder / "features").mkdir()
    write(folder / "features")
    assert is_ready(folder, dataset_card("outfits"))
    with pytest.raises(BadData, match=message):
        read(folder)


@pytest.mark.parametrize(
    ("ids", "matrix", "message"),
    [
        (["2", "10", "a", "b"], np.ones((3, 2)), r"float64 of shape \(3, 2\) for 4 ids"),
        (["2", "10", "a", "b"], np.ones(4), r"shape \(4,\) for 4 ids"),
        (["2", "10", "a", "b"], np.ones((4, 0)), r"shape \(4, 0\) for 4 ids"),
        (["2", "10", "a", "b"], np.full((4, 1), "x"), r"<U1 of shape \(4, 1\)"),
        (["2", "10", "a", "b"], np.array([[1.0], [np.nan], [1], [1]]), "'image' holds values that are no finite numbers"),
        (["2", "10", "a", "b"], np.full((4, 1), 1e300), "'image' holds values that are no finite numbers"),
        (["2", "10", "2", "b"], np.ones((4, 2)), "'image' names an item id twice"),
        (["0", "1", "3", "4"], np.ones((4, 2)), "none of the 4 items. Its ids are of another numbering"),
    ],
)
def test_vectors_with_a_fault(ids: list[str], matrix: Any, message: str, write_tables: Write, read: Read) -> None:
    folder = write_tables({"bundles": BUNDLES})
    write_vectors(folder, ids, matrix)
    with pytest.raises(BadData, match=message):
        read(folder)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"item": ["a"], "vector": [[1.0]]}), "has the columns item, vector"),
        (pa.table({"item_id": ["a"], "vector": [1.0]}), "holds double, not lists of numbers"),
        (pa.table({"item_id": ["a", "b"], "vector": [[1.0], None]}), "1 items have no vector"),
        (pa.table({"item_id": ["a", None], "vector": [[1.0], [1.0]]}), "1 rows have no item_id"),
        (pa.table({"item_id": ["a", "b"], "vector": [[1.0], [1.0, 2.0, 3.0]]}), "vectors of 2 lengths"),
        (
            pa.table({"item_id": ["a", "b"], "vector": pa.array([[1.0], [1.0, 2.0, 3.0]], pa.large_list(pa.float32()))}),
            "vectors of 2 lengths",
        ),
        (pa.table({"item_id": ["a", "b"], "vector": [[1.0, None], [1.0, 2.0]]}), "no finite numbers"),
        (pa.table({"item_id": pa.array([], pa.string()), "vector": pa.array([], pa.list_(pa.float32()))}), "vectors of 0 lengths"),
    ],
)
def test_a_parquet_file_of_vectors_with_a_fault(table: pa.Table, message: str, write_tables: Write, read: Read) -> None:
    folder = write_tables({"bundles": BUNDLES})
    (folder / "features").mkdir()
    pq.write_table(table, folder / "features" / "image.parquet")
    with pytest.raises(BadData, match=message):
        read(folder)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"bundles": {"bundle_id": pa.array([], pa.string()), "item_id": pa.array([], pa.string())}}, "there is no event in it"),
        ({"bundles": {"bundle_id": ["one"], "item": ["a"]}}, "item_id"),
        ({"bundles": BUNDLES, "bundle_info": {"bundle_id": ["one"], "session_id": ["1"]}}, "lacks 1 bundles, such as two"),
        (
            {"bundles": BUNDLES, "bundle_info": {"bundle_id": ["one", "two", "one"], "session_id": ["1", "1", "2"]}},
            "bundle 'one' is in the groups '1' and '2'",
        ),
        (
            {"bundles": BUNDLES, "user_bundles": {"user_id": ["u"], "bundle_id": ["1"]}},
            "None of the 1 owned bundles is about anything in this data set",
        ),
        ({"bundles": BUNDLES, "feedback": {"user_id": ["u"], "item_id": ["B0"]}}, "None of the 1 feedback pairs is about anything"),
        ({"bundles": BUNDLES, "feedback": {"user_id": ["u", None], "item_id": ["a", "a"]}}, "1 rows have no user_id"),
        ({"bundles": {**BUNDLES, "part": ["train"] * 6}}, "a column part and none that says which items are shown"),
        ({"bundles": {**BUNDLES, "part": ["test"] * 6, "is_input": [2] * 6}}, "is_input is '2' somewhere"),
        (
            {"bundles": {**BUNDLES, "part": ["train"] * 3 + ["test"] * 3, "is_input": ["1", "1", "1", "1", "", "0"]}},
            "is_input is '' somewhere",
        ),
        (
            {"bundles": {"bundle_id": ["one"] * 3, "item_id": ["a", "b", "b"], "part": ["test"] * 3, "is_input": [1, 0, 1]}},
            "bundle 'one' shows item 'b' in one row and asks for it in another",
        ),
        ({"bundles": {**BUNDLES, "part": ["train", *["test"] * 5], "is_input": [0] * 6}}, "bundle 'one' is in two parts"),
        ({"bundles": {**BUNDLES, "part": ["train"] * 3 + ["dev"] * 3, "is_input": [0] * 6}}, "Bundle 'two' is in the part 'dev'"),
        ({"bundles": {**BUNDLES, "part": ["train"] * 3 + ["test"] * 3, "is_input": [1] * 6}}, "Bundle 'two' shows 3 of its 3 items"),
    ],
)
def test_tables_with_a_fault(tables: dict[str, Any], message: str, write_tables: Write, read: Read) -> None:
    with pytest.raises(BadData, match=message):
        read(write_tables(tables))


@pytest.mark.parametrize("of_train", ["", "x", None, "2"])
def test_train_bundles_need_no_word_on_what_is_shown(of_train: str | None, write_tables: Write, read: Read) -> None:
    columns = {**BUNDLES, "part": ["train"] * 3 + ["test"] * 3, "is_input": [of_train] * 3 + ["True", "0", "False"]}
    side = read(write_tables({"bundles": columns})).side
    assert side is not None
    assert side.given is not None
    assert side.given.is_input.sum() == 1


def test_a_card_gives_tables_other_names(write_tables: Write, write_card: Write, read: Read) -> None:
    folder = write_tables({"bundles": BUNDLES, "purchases": {"user_id": ["u"], "item_id": ["a"]}})

    def files(ready: str) -> dict[str, Path]:
        return ready_files(folder, dataset_card(str(write_card(f'task = "bundle"\nready = {{ {ready} }}', reader="bundles", time="none"))))

    assert files('feedback = "purchases"')["feedback"].name == "purchases.parquet"
    source = '[[sources]]\nkind = "folder"\npath = "mine"'
    side = read(write_card(f'task = "bundle"\nready = {{ feedback = "purchases" }}\n{source}', reader="bundles", time="none")).side
    assert side is not None
    assert side.feedback is not None
    with pytest.raises(BadConfig, match=r"the role 'feedbak'.*Did you mean 'feedback'"):
        files('feedbak = "purchases"')
    with pytest.raises(BadConfig, match="no name of a table"):
        files('feedback = "../purchases"')


def test_bundles_that_are_not_here_are_asked_for_by_their_table(tmp_path: Path, read: Read, write_card: Write) -> None:
    with pytest.raises(DataUnavailable, match=r"there is no bundles\.parquet in .*BundleRec/bundle_recommendation"):
        read("bundle-food")
    (tmp_path / "mine").mkdir()
    source = '[[sources]]\nkind = "folder"\npath = "mine"'
    with pytest.raises(DataUnavailable, match=r"mine holds neither bundles\.parquet nor bundles\.csv"):
        read(write_card(f'task = "bundle"\n{source}', reader="bundles", time="none"))


def test_a_card_names_vectors_as_a_file_could_be_called(write_tables: Write, write_card: Write, read: Read) -> None:
    folder = write_tables({"bundles": BUNDLES})
    write_vectors(folder, ["a"], np.ones((1, 2)))
    files = ", ".join(
        f'{{ role = "{role}", name = "{name}" }}' for role, name in (("bundles", "bundles.parquet"), ("features:../up", "image.npy"))
    )
    (folder / "image.npy").write_bytes((folder / "features" / "image.npy").read_bytes())
    source = f'[[sources]]\nkind = "folder"\npath = "mine"\nfiles = [{files}]'
    with pytest.raises(BadConfig, match=r"'\.\./up' is no name of vectors"):
        read(write_card(f'task = "bundle"\n{source}', reader="bundles", time="none"))


def test_the_published_division_of_a_table(write_tables: Write, read: Read) -> None:
    columns = {**BUNDLES, "part": ["train"] * 3 + ["test"] * 3, "is_input": [False] * 3 + [True, False, False]}
    columns = {
        name: [*values, *more]
        for (name, values), more in zip(columns.items(), (["v"] * 2, ["a", "b"], ["valid"] * 2, [True, False]), strict=True)
    }
    for ending in ("parquet", "csv"):
        written = columns if ending == "parquet" else {**columns, "is_input": [int(value) for value in columns["is_input"]]}
        split = make_split(read(write_tables({"bundles": written}, name=ending, ending=ending)), BUNDLE.protocol("published"))
        assert split.items.item_ids[split.test.histories[0]].tolist() == ["a"]
        assert split.items.item_ids[split.test.targets[0]].tolist() == ["2", "b"]
