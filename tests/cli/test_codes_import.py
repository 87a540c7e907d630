"""`recbench codes import`: collision figures of released indexes, and every way in which the files can be wrong."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbench.nn.codes.catalogue import ItemCodes

INDEX = {"0": ["<a_1>", "<b_2>"], "1": ["<a_1>", "<b_2>"], "2": ["<a_1>", "<b_2>"], "3": ["<a_1>", "<b_3>"], "4": ["<a_2>", "<b_2>"]}
ITEMS = ["apple", "bean", "corn", "date", "elder"]


def written(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture
def fruit(recbench: Any) -> str:
    """A data set of five items and twelve users; the last item of user u is item u % 5."""
    folder = recbench.folder / "fruit"
    folder.mkdir()
    with (folder / "interactions.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["user_id", "item_id", "timestamp"])
        rows.writerows([f"u{user:02d}", ITEMS[(user + step) % 5], step] for user in range(12) for step in (1, 2, 3, 5))
    return "./fruit"


def found(recbench: Any, *words: Any) -> dict[str, Any]:
    done = recbench("codes", "import", *words, "--json")
    assert done.code == 0, done.stderr
    figures: dict[str, Any] = done.json
    return figures


def test_an_index_alone(recbench: Any) -> None:
    written(recbench.folder, "x.index.json", INDEX)
    figures = found(recbench, "x.index.json")
    assert figures == {
        "items": 5,
        "levels": 2,
        "distinct": 3,
        "items_in_groups": 3,
        "share_in_groups": 0.6,
        "largest_group": 3,
        "targets": None,
        "targets_in_groups": None,
        "mean_1_over_g": None,
    }
    shown = recbench("codes", "import", "x.index.json")
    assert "3 (60.0%)" in shown.stdout
    assert "--interactions FILE" in shown.stdout


def test_targets_of_released_interactions(recbench: Any) -> None:
    written(recbench.folder, "x.index.json", INDEX)
    written(recbench.folder, "x.inter.json", {"0": [3, 0], "1": [4], "2": [0, 1, 3], "3": [4, 2]})
    figures = found(recbench, "x.index.json", "--interactions", "x.inter.json")
    assert (figures["targets"], figures["targets_in_groups"]) == (4, 0.5)
    assert figures["mean_1_over_g"] == pytest.approx((1 / 3 + 1 + 1 + 1 / 3) / 4)
    shown = recbench("codes", "import", "x.index.json", "--interactions", "x.inter.json").stdout
    assert "50.00%" in shown
    assert "0.6667" in shown
    written(recbench.folder, "y.inter.json", {"0": [7]})
    recbench("codes", "import", "x.index.json", "--interactions", "y.inter.json").refuses("no code for 1 of the test targets", "'7'")


def test_items_of_a_data_set_by_id_by_number_and_by_row(recbench: Any, fruit: str) -> None:
    by_number = found_in = written(recbench.folder, "numbers.index.json", INDEX)
    written(recbench.folder, "ids.index.json", {ITEMS[int(number)]: code for number, code in INDEX.items()})
    written(recbench.folder, "fruit.item2id", "".join(f"{item}\t{number}\n" for number, item in enumerate(ITEMS)))
    ItemCodes(np.array([[1, 2], [1, 2], [1, 2], [1, 3], [2, 2]], np.int32), (3, 4)).save(recbench.folder)
    # Users 0 to 11 are asked for items 0, 1, 2, 3, 4, 0, ...: 0, 1 and 2 in 8 of 12 cases.
    expected = (12, pytest.approx(8 / 12), pytest.approx((8 / 3 + 4) / 12))
    for words in (["ids.index.json"], [by_number, "--items", "fruit.item2id"], ["codes.parquet"]):
        figures = found(recbench, *words, "-d", fruit)
        assert (figures["targets"], figures["targets_in_groups"], figures["mean_1_over_g"]) == expected
    recbench("codes", "import", found_in, "-d", fruit).refuses("5 of the 5 items", "'apple'", "--items FILE")
    written(recbench.folder, "short.item2id", "apple\t0\n")
    recbench("codes", "import", found_in, "-d", fruit, "--items", "short.item2id").refuses("4 of the 5 items", "'bean'")
    written(recbench.folder, "more.item2id", "".join(f"{item} {10 * number}\n" for number, item in enumerate(ITEMS)))
    recbench("codes", "import", found_in, "-d", fruit, "--items", "more.item2id").refuses("no code for", "test targets")


def test_lines_of_words_and_codes_of_unequal_length(recbench: Any) -> None:
    written(recbench.folder, "ids.txt", "B01 |▁eye|▁shadow\nB02 |▁eye\nB03 |▁eye|▁shadow|1\nB04 |▁eye\n\n")
    figures = found(recbench, "ids.txt")
    assert (figures["items"], figures["levels"], figures["distinct"], figures["largest_group"]) == (4, 3, 3, 2)
    recbench("codes", "import", "ids.txt", "--extra", "1").refuses("--extra 1", "differ in length")


def test_levels_that_only_tell_apart_do_not_count(recbench: Any) -> None:
    written(recbench.folder, "x.index.json", {str(row): [7, row % 2, row] for row in range(6)})
    assert found(recbench, "x.index.json")["distinct"] == 6
    assert found(recbench, "x.index.json", "--extra", 1)["distinct"] == 2
    recbench("codes", "import", "x.index.json", "--extra", 3).refuses("--extra 3", "3 levels")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.json", None, ["none.json", "no such file"]),
        ("empty.json", "", ["empty.json is not JSON"]),
        ("cut.json", '{"0": ["<a_1>"', ["cut.json is not JSON"]),
        ("deep.json", "[" * 100_000, ["deep.json is not JSON"]),
        ("huge.json", '{"0": [' + "9" * 5_000 + "]}", ["huge.json is not JSON"]),
        ("list.json", "[1, 2]", ["list.json", "not a JSON object"]),
        ("nothing.json", "{}", ["nothing.json", "not a JSON object"]),
        ("flat.json", '{"0": "<a_1>"}', ["item '0'", "not a list of 1 to 256 tokens"]),
        ("float.json", '{"0": [1.5]}', ["item '0'", "[1.5]"]),
        ("true.json", '{"0": [true]}', ["item '0'"]),
        ("codeless.json", '{"0": []}', ["item '0'"]),
        ("long.json", json.dumps({"0": list(range(300))}), ["item '0'", "1 to 256"]),
        ("twice.json", '{"0": [1], "0": [2]}', ["'0' twice"]),
        ("steering.json", '{"\\u001b[2J": [""]}', ["\\x1b[2J"]),
        ("blank.txt", "\n\n", ["blank.txt is empty"]),
        ("bare.txt", "B01 eye shadow\n", ["line 1", "a bar before each piece"]),
        ("gap.txt", "B01 |a||b\n", ["line 1"]),
        ("again.txt", "B01 |a\nB01 |b\n", ["line 2", "has a line already"]),
        ("index.parquet", "no parquet", ["index.parquet", "not a parquet file"]),
    ],
)
def test_wrong_files_end_in_sentences(recbench: Any, name: str, content: str | None, words: list[str]) -> None:
    if content is not None:
        written(recbench.folder, name, content)
    recbench("codes", "import", name).refuses(*words)


def test_sizes_are_bounded(recbench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from recbench.running.foreign import released_codes

    path = written(recbench.folder, "x.json", {str(row): [row] for row in range(9)} | {"long": list(range(50))})
    monkeypatch.setattr(released_codes, "_MOST_CELLS", 400)
    recbench("codes", "import", path).refuses("10 items", "50 tokens")
    monkeypatch.setattr(released_codes, "_MOST_BYTES", 40)
    recbench("codes", "import", path).refuses("at most 40")
    (recbench.folder / "latin.json").write_bytes(b'{"\xe9": [1]}')
    recbench("codes", "import", "latin.json").refuses("latin.json is not UTF-8")


def test_options_that_contradict_each_other(recbench: Any) -> None:
    written(recbench.folder, "x.json", INDEX)
    recbench("codes", "import", "x.json", "-d", "demo", "--interactions", "x.json").refuses("--dataset and --interactions")
    recbench("codes", "import", "x.json", "--items", "x.json").refuses("--dataset NAME")
    written(recbench.folder, "users.json", {"0": []})
    recbench("codes", "import", "x.json", "--interactions", "users.json").refuses("user '0'", "at least one item")
    written(recbench.folder, "twice.item2id", "apple 0\nbean 0\n")
    recbench("codes", "import", "x.json", "-d", "demo", "--items", "twice.item2id").refuses("line 2", "'apple' already")
    written(recbench.folder, "wide.item2id", "apple 0 1\n")
    recbench("codes", "import", "x.json", "-d", "demo", "--items", "wide.item2id").refuses("line 1", "number in the index")
