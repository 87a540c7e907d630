"""RecBole's atomic files as they are published: types or none, packed or not, columns that clash, sequences of every make."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from recbench.core import BadData
from recbench.data import Dataset

Write = Callable[..., Path]
Read = Callable[..., Dataset]
TIME = 1_500_000_000
INTER = f"user_id:token\titem_id:token\ttimestamp:float\nu\t3\t{TIME}\nu\t03\t{TIME + 1}\nu\t1\t{TIME + 2}.0\n"


@pytest.fixture
def read_atomic(tmp_path: Path, write_card: Write, read: Read) -> Callable[..., Dataset]:
    """Writes the two files, packed or not, and reads them with the given options of the card."""

    def read_it(inter: str, item: str | None = None, *, options: str = "", packed: bool = False) -> Dataset:
        files = []
        for role, name, text in (("interactions", "d.inter", inter), ("items", "d.item", item)):
            if text is not None:
                path = tmp_path / (name + ".gz" * packed)
                path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
                files.append(f"{{ role = '{role}', name = '{path.name}' }}")
        source = f"options = {{ {options} }}\n[[sources]]\nkind = 'folder'\npath = '.'\nfiles = [{', '.join(files)}]\n"
        return read(write_card(source, reader="recbole"))

    return read_it


def item_file(categories: list[str], kind: str = ":token_seq") -> str:
    rows = "".join(f"{item}\tThing {item}\t{text}\n" for item, text in zip(("1", "3", "03"), categories, strict=True))
    return f"item_id:token\ttitle:token_seq\tcategories{kind}\n{rows}"


def categories(dataset: Dataset) -> dict[str, str | None]:
    return dict(zip(dataset.items.item_ids.tolist(), dataset.items.columns["categories"].tolist(), strict=True))


@pytest.mark.parametrize(
    ("written", "options", "expected"),
    [
        (["Active Life, Sports & Outdoors", "Active Life", ""], "", ["Active Life, Sports & Outdoors", "Active Life", None]),
        (["Action Sci-Fi", "Drama", ""], "", ["Action, Sci-Fi", "Drama", None]),
        (["Active Life|Sports", "Active Life", ""], "", ["Active Life, Sports", "Active Life", None]),
        (["Active Life; Sports;", "Active Life", ""], "", ["Active Life, Sports", "Active Life", None]),
        (["Movies, Inc.", "Drama Film", ""], "separator = ' '", ["Movies,, Inc.", "Drama, Film", None]),
        (["A_B", "C D", ""], "separator = '_'", ["A, B", "C D", None]),
    ],
)
def test_sequences_are_taken_apart_where_they_were_joined(
    read_atomic: Callable[..., Dataset], written: list[str], options: str, expected: list[str | None]
) -> None:
    found = read_atomic(INTER, item_file(written), options=options)
    assert categories(found) == dict(zip(("1", "3", "03"), expected, strict=True))


@pytest.mark.parametrize("kind", [":token", ""])
def test_what_is_no_sequence_stays_as_it_is_written(read_atomic: Callable[..., Dataset], kind: str) -> None:
    written = ["Active Life", "a|b", "c, d"]
    assert categories(read_atomic(INTER, item_file(written, kind))) == dict(zip(("1", "3", "03"), written, strict=True))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("types", [True, False])
def test_ids_are_text_with_types_and_without(read_atomic: Callable[..., Dataset], packed: bool, types: bool) -> None:
    inter = INTER if types else INTER.replace(":token", "").replace(":float", "")
    dataset = read_atomic(inter, item_file(["x", "y", "z"]), packed=packed)
    assert dataset.items.item_ids.tolist() == ["03", "1", "3"]
    assert dataset.items.item_ids[dataset.interactions[0]].tolist() == ["3", "03", "1"]
    assert dataset.items.titles() == ["Thing 03", "Thing 1", "Thing 3"]


def test_options_choose_among_columns_that_would_clash(read_atomic: Callable[..., Dataset]) -> None:
    inter = f"user_id:token\tsession_id:token\titem_id:token\ttimestamp:float\nu\ts\ta\t{TIME}\nu\tt\tb\t{TIME}\n"
    item = "item_id:token\tmovie_title:token_seq\ttitle:token\na\tLong A\tx\nb\tLong B\tx\n"
    dataset = read_atomic(inter, item, options="user = 'session_id', columns = { title = 'movie_title' }")
    assert dataset.user_ids.tolist() == ["s", "t"]
    assert dataset.items.titles() == ["Long A", "Long B"]
    assert read_atomic(inter, item).user_ids.tolist() == ["u"]


@pytest.mark.parametrize(
    ("inter", "item", "message"),
    [
        (INTER.replace("timestamp:float", "item_id:token"), None, r"d.inter names the column 'item_id' 2 times"),
        (INTER.replace("timestamp:float", "item_id:float"), None, r"d.inter names the column 'item_id' 2 times"),
        (INTER, item_file(["x"] * 3).replace("categories:token_seq", "title:token"), r"d.item names the column 'title' 2 times"),
        (INTER.replace("timestamp:float", "item_id_list:token_seq"), None, r"d.inter was divided into histories and targets already"),
        (INTER.replace("user_id", "uid"), None, r"d.inter has no column 'user_id'; it has uid, item_id, timestamp"),
        ("", None, r"d.inter: there is nothing in it"),
        (INTER + "u\ta\n", None, r"d.inter: not a table with '\\t' between values"),
    ],
)
def test_files_that_cannot_be_meant_are_named(read_atomic: Callable[..., Dataset], inter: str, item: str | None, message: str) -> None:
    with pytest.raises(BadData, match=message):
        read_atomic(inter, item)
