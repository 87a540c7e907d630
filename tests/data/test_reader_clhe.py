"""Bundles that came divided: text files of numbers and matrices by row."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbench.core import BadData, SilentProgress
from recbench.data import Dataset, Split, load_reader, make_split
from recbench.data.reader import HasSide
from recbench.tasks import task_of_card

Read = Callable[..., Dataset]

ROLES = {
    "count": "count.json", "train": "bi_train.txt", "valid_input": "bi_valid_input.txt", "valid_targets": "bi_valid_gt.txt",
    "test_input": "bi_test_input.txt", "test_targets": "bi_test_gt.txt", "feedback": "ui_full.txt", "items": "item_info.json",
    "features:image": "content_feature.npy",
}  # fmt: skip
FILES = {
    "count": json.dumps({"#U": 3, "#B": 7, "#I": 12}),
    # A repeated item, a blank line, one line break of Windows.
    "train": "0, 1, 2, 3\n4, 10, 2, 10\n\n5, 4, 5\r\n6, 7, 8\n",
    "valid_input": "2, 1\n",
    "valid_targets": "2, 3, 4\n",
    "test_input": "1, 2, 10\n3, 9\n",
    "test_targets": "3, 1\n1, 11, 11",
    "feedback": "0, 1, 2, 1\n2, 10\n0, 5\n",
    "items": json.dumps({"10": {"title": "Ten", "cate": 3}, "2": {"title": " "}, "11": {"cate": ["a", "b"]}}),
}


@pytest.fixture
def read_files(tmp_path: Path, write_card: Callable[..., Path], read: Read) -> Callable[..., Dataset]:
    """Reads the six bundles above, with other texts for some of the files and without those that are None."""

    def read_them(**others: str | None) -> Dataset:
        texts = {role: text for role, text in {**FILES, **others}.items() if text is not None}
        for role, text in texts.items():
            (tmp_path / ROLES[role]).write_bytes(text.encode())
        (tmp_path / "bi_full.txt").write_text("no number: nobody may open this")
        np.save(tmp_path / "content_feature.npy", np.arange(24, dtype=np.float32).reshape(12, 2))
        files = ", ".join(f"{{ role = '{role}', name = '{name}' }}" for role, name in ROLES.items() if role in {*texts, "features:image"})
        source = f"[[sources]]\nkind = 'folder'\npath = '{tmp_path}'\nfiles = [{files}]"
        options = "options = { columns = { title = 'title', categories = 'cate' } }"
        return read(write_card(f"task = 'bundle'\nprotocol = 'published'\n{options}\n{source}", reader="clhe", time="none"))

    return read_them


def split_of(dataset: Dataset) -> Split:
    return make_split(dataset, task_of_card(dataset.card).protocol())


def test_the_division_is_that_of_the_files(read_files: Callable[..., Dataset]) -> None:
    split = split_of(read_files())
    ids = split.items.item_ids

    def named(items: np.ndarray) -> set[int]:
        return {int(ids[item]) for item in items}

    train = {split.user_ids[row]: named(split.train[row]) for row in range(len(split.train)) if len(split.train[row])}
    assert train == {"0": {1, 2, 3}, "4": {10, 2}, "5": {4, 5}, "6": {7, 8}}
    parts = [
        {split.user_ids[row]: (named(part.histories[query]), named(part.targets[query])) for query, row in enumerate(part.user.tolist())}
        for part in (split.valid, split.test)
    ]
    assert parts == [{"2": ({1}, {3, 4})}, {"1": ({2, 10}, {11}), "3": ({9}, {1})}]
    assert split.protocol == "published"


def test_all_numbered_items_are_candidates_with_the_vectors_of_their_row(read_files: Callable[..., Dataset]) -> None:
    dataset = read_files()
    split = split_of(dataset)
    assert sorted(map(int, split.items.item_ids)) == list(range(12))
    image = split.features["image"]
    assert image.is_present.all()
    assert [row[0] / 2 for row in image.matrix.tolist()] == [int(item) for item in split.items.item_ids]
    titles = dict(zip(split.items.item_ids, split.items.columns["title"], strict=True))
    categories = dict(zip(split.items.item_ids, split.items.columns["categories"], strict=True))
    assert {item: title for item, title in titles.items() if title} == {"10": "Ten"}
    assert {item: category for item, category in categories.items() if category} == {"10": "3", "11": "a, b"}
    assert dataset.notes["items that a bundle repeats, left out"] == 2


def test_feedback_is_unfiltered_each_pair_once(read_files: Callable[..., Dataset]) -> None:
    split = split_of(read_files())
    assert split.feedback is not None
    kept = [sorted(int(split.items.item_ids[item]) for item in split.feedback[user]) for user in range(len(split.feedback))]
    assert kept == [[1, 2, 5], [10]]
    assert split.notes["feedback"] == "unfiltered, for no table says who owns which bundle"


def test_feedback_texts_and_vectors_may_be_missing(read_files: Callable[..., Dataset]) -> None:
    split = split_of(read_files(feedback=None, items=None))
    assert split.feedback is None
    assert not split.items.columns


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"count": "[1]"}, "is not a JSON object"),
        ({"count": '{"#U": 3, "#B": true}'}, r"#B = true, #I = null; a number of users"),
        ({"train": "0, 1, 2\n4, x"}, r"bi_train\.txt, line 2: '4, x' is not an id and item numbers"),
        ({"train": "0, 1,, 2"}, r"line 1: '0, 1,, 2' is not an id"),
        ({"train": "0 1 2"}, r"line 1: '0 1 2' is not an id"),
        ({"train": "0, 1, 12"}, r"line 1 names the id 0 or items outside of the 7 ids and 12 items"),
        ({"train": "7, 1, 2"}, r"line 1 names the id 7 or items outside"),
        ({"train": "0, 1, -2"}, r"line 1 names the id 0 or items outside"),
        ({"train": "0, 1\n0, 2"}, r"bundle 0 has two lines"),
        ({"train": "0, 1, 2\n2, 5, 6"}, r"bi_valid_input\.txt names bundles of another part: 2\."),
        ({"test_input": "1, 2\n2, 9", "test_targets": "1, 3\n2, 8"}, r"bi_test_input\.txt names bundles of another part: 2\."),
        ({"test_input": "1, 2"}, r"bi_test_input\.txt and bi_test_gt\.txt are about different bundles: 3\."),
        ({"valid_targets": "2, 3, 1"}, r"bi_valid_gt\.txt asks for items that bi_valid_input\.txt shows, in the bundles 2\."),
        ({"valid_targets": "2"}, r"Bundle '2' shows 1 of its 1 items"),
        ({"feedback": "3, 1"}, r"ui_full\.txt, line 1 names the id 3"),
    ],
)
def test_files_with_a_fault(others: dict[str, str], message: str, read_files: Callable[..., Dataset]) -> None:
    with pytest.raises(BadData, match=message):
        read_files(**others)


def test_a_matrix_of_other_data_is_named(read_files: Callable[..., Dataset]) -> None:
    counts = json.dumps({"#U": 3, "#B": 7, "#I": 13})
    with pytest.raises(BadData, match=r"content_feature\.npy holds float32 of shape \(12, 2\) for 13 ids"):
        read_files(count=counts)


sets = st.dictionaries(st.integers(0, 29), st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1)


@settings(max_examples=25)
@given(train=sets)
def test_what_was_written_is_read(train: dict[int, list[int]], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("clhe")
    texts = {
        "count": '{"#U": 1, "#B": 31, "#I": 12}',
        "train": "".join(f"{bundle}, {', '.join(map(str, items))}\n" for bundle, items in train.items()),
        "valid_input": "", "valid_targets": "", "test_input": "30, 10\n", "test_targets": "30, 11\n",
    }  # fmt: skip
    files = {role: folder / role for role in texts}
    for role, text in texts.items():
        files[role].write_text(text, encoding="utf-8")
    reader = load_reader("clhe")
    assert isinstance(reader, HasSide)
    events = reader.events(files, reader.options(), SilentProgress())
    pairs = set(zip(events.user_ids[events.user].tolist(), events.item_ids[events.item].tolist(), strict=True))
    written = {(str(bundle), str(item)) for bundle, items in train.items() for item in items}
    assert pairs == written | {("30", "10"), ("30", "11")}
    assert len(events) == len(pairs)
    cut = reader.side(files, reader.options(), SilentProgress()).cut
    assert cut is not None
    assert cut.part == {**{str(bundle): "train" for bundle in train}, "30": "test"}
    assert cut.shown == {("30", "10")}
