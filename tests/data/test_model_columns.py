"""Model columns: read where a data card names them, kept apart from the texts, each with a digest of its own."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from recbench.core import BadConfig, SilentProgress
from recbench.data import Dataset, Split, check, column_digest, locate, make_split
from recbench.tasks import NEXT_ITEM

Write = Callable[..., Path]
Read = Callable[..., Dataset]
ROWS = [(user, item, 10**9 + place) for user in ("u", "v") for place, item in enumerate("abc")]
ITEMS: Mapping[str, Any] = {"item_id": ["a", "b", "c"], "title": ["A", "B", None]}
PHRASES = {"phrase": [" red hat ", "", "hat"]}
SOURCE = "[[sources]]\nkind = 'folder'\npath = 'mine'\n"
CARD = f"model_columns = ['phrase']\n{SOURCE}"
# Records hold these sums: a change here makes every published record incomparable.
FINGERPRINTS = {
    "train": "65a04e07575fe5b5de96a89f23503da8d06edee76d86f81af1c7c1192852311c",
    "valid": "c733d0171c849a259dbe5afed74b2a2729f181962afa45bac95ab844b7b1253f",
    "test": "b7adb399465ea9418ceb6ebafd87cf196947c02e76ab5844066c31d9075c81f5",
    "item_text": "ba2d6551c5fb2928f964699d9ed2316b6f5a779875e631757cb2ecfa1c8ff8d5",
}
"""Of ROWS and ITEMS, from before there were model columns."""
DIGEST = "a4d80f66ef1e1bbd1296b5fcdbd99010c2e39832d1c6f6c070f9686edee33263"


def test_they_stand_beside_the_texts_and_move_no_fingerprint(write_folder: Write, write_card: Write, read: Read, tmp_path: Path) -> None:
    folder = write_folder(ROWS, ITEMS | PHRASES)
    unread, with_phrases = read(folder), read(write_card(CARD))
    assert not unread.items.model_columns
    assert {name: column.tolist() for name, column in with_phrases.items.model_columns.items()} == {"phrase": ["red hat", None, "hat"]}
    assert set(with_phrases.items.columns) == {"title"}
    split = make_split(with_phrases, NEXT_ITEM.protocol())
    assert split.fingerprints == make_split(unread, NEXT_ITEM.protocol()).fingerprints
    assert split.fingerprints.model_dump(exclude_defaults=True) == FINGERPRINTS
    split.save(tmp_path / "split")
    opened = Split.open(tmp_path / "split").items
    assert {name: column.tolist() for name, column in opened.model_columns.items()} == {"phrase": ["red hat", None, "hat"]}
    assert column_digest(opened, "phrase") == DIGEST


def test_a_table_without_them_is_stored_as_before_there_were_any(write_folder: Write, read: Read, tmp_path: Path) -> None:
    make_split(read(write_folder(ROWS, ITEMS | PHRASES)), NEXT_ITEM.protocol()).save(tmp_path / "split")
    assert not [path.name for path in (tmp_path / "split").iterdir() if "model_column" in path.name]
    assert not Split.open(tmp_path / "split").items.model_columns


def test_digests_know_ids_values_and_name(write_folder: Write, write_card: Write, read: Read) -> None:
    def digest(items: Mapping[str, Any], name: str = "phrase") -> str:
        write_folder(ROWS, items)
        return column_digest(read(write_card(CARD.replace("phrase", name))).items, name)

    values = [["x", "y", None], ["x", None, "y"], ["xy", "", None], ["x", "y", "z"]]
    found = [digest(ITEMS | {"phrase": column}) for column in values]
    found.append(digest(ITEMS | {"word": values[0]}, "word"))
    found.append(digest({"item_id": ["a", "b", "c", "d"], "phrase": [*values[0], None]}))
    assert len(set(found)) == len(found)
    # Titles are no part of it.
    assert digest({"item_id": ["a", "b", "c"], "phrase": values[0]}) == found[0]


def test_a_source_without_the_column_is_read_and_checked_without_it(
    write_folder: Write, write_card: Write, read: Read, tmp_path: Path
) -> None:
    write_folder(ROWS, ITEMS)
    path = write_card(CARD)
    assert not read(path).items.model_columns

    def findings() -> list[str]:
        found = check(
            str(path), data_dir=None, home=tmp_path / "home", progress=SilentProgress(), protocol_of=lambda _: NEXT_ITEM.protocol()
        )
        assert all(finding.is_good for finding in found)
        return [finding.detail for finding in found if finding.what == "model column"]

    assert findings() == ["phrase: no item has a value here; models that need it are refused"]
    write_folder(ROWS, ITEMS | PHRASES)
    assert findings() == [f"phrase: 2 of 3 items; digest {DIGEST[:12]}"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("model_columns = ['title']", "'title', which is a text column"),
        ("model_columns = ['item_id']", "'item_id', which is the column of ids"),
        ("model_columns = ['tags']\nleaking_columns = ['tags']", "'tags', which is one of leaking_columns"),
        ("model_columns = ['a', 'a']", "'a', which is named twice"),
        ("model_columns = ['a/b']", "'a/b' is no name of a column"),
    ],
)
def test_columns_that_something_else_reads_are_refused(write_card: Write, line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=message):
        locate(str(write_card(f"{line}\n{SOURCE}")), data_dir=None, home=tmp_path, progress=SilentProgress())
