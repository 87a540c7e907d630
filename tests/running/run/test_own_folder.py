"""Runs on a folder of one's own: lists can be made afterwards, with ids of any characters, and come back from the file as they were."""

import csv
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from recbench import registry
from recbench.cli.app import app
from recbench.core import SilentProgress
from recbench.core.interactions import StringArray
from recbench.core.records import read_record
from recbench.data import Split
from recbench.running.after.loaded import LoadedRun, split_of
from recbench.running.foreign.lists import place_lists, read_lists
from recbench.running.host.workplace import Workplace
from recbench.running.requests import RunRequest
from recbench.running.run.execute import run_request
from recbench.tasks import NEXT_ITEM

ODD = ["a,b", 'say "x"', "two words", " led", "trailed ", "-x", "--k", ";", "NA", "null", "ß–プ", "1e3", "007", "a\nb", "#1"]


def write_shop(folder: Path, ids: list[str]) -> Path:
    """A shop of these items, each of eight users buying five of them in turn."""
    folder.mkdir(parents=True)
    with (folder / "interactions.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["user_id", "item_id", "timestamp"])
        for user in range(8):
            writer.writerows([f"u,{user}", ids[(user * 2 + step) % len(ids)], 1_600_000_000 + step] for step in range(5))
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Workplace]:
    """A working folder with a shop of odd ids and a run on it."""
    root = tmp_path_factory.mktemp("own")
    workplace = Workplace(root / "home", None, root / "runs", root / "leaderboards")
    shop = write_shop(root / "shop", ODD)
    outcome = run_request(RunRequest("popularity", str(shop), threads=1), workplace)
    assert outcome is not None
    return root, workplace


@contextmanager
def at(root: Path) -> Iterator[Any]:
    """The command line in a working folder with its cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("RECBENCH_HOME", str(root / "home"))
        patch.delenv("RECBENCH_DATA", raising=False)

        def give(*words: str) -> Result:
            return CliRunner().invoke(app, list(words), prog_name="recbench")

        yield give


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_lists_are_exported_from_the_split_in_the_cache(made: tuple[Path, Workplace]) -> None:
    with at(made[0]) as give:
        done = give("recommend", "last", "--export", "lists.csv")
        assert done.exit_code == 0, done.stderr
        done = give("latency", "last", "--batches", "1", "--seconds", "0.01")
        assert done.exit_code == 0, done.stderr
    found = rows(made[0] / "lists.csv")
    assert {row["user_id"] for row in found} == {f"u,{user}" for user in range(8)}
    assert {row["item_id"] for row in found} == set(ODD)


def test_without_the_cache_the_sentence_says_what_to_add(made: tuple[Path, Workplace], tmp_path: Path) -> None:
    shutil.copytree(made[0] / "runs", tmp_path / "runs")
    with at(tmp_path) as give:
        for words in (("recommend", "last", "--export", "lists.csv"), ("latency", "last"), ("reproduce", "last")):
            done = give(*words)
            assert done.exit_code == 2
            assert "--dataset PATH" in done.stderr
            assert "'shop'" in done.stderr
        shop = write_shop(tmp_path / "elsewhere" / "renamed", ODD)
        assert give("recommend", "last", "--export", "lists.csv", "--dataset", str(shop)).exit_code == 0
        other = write_shop(tmp_path / "other", ODD[::-1])
        done = give("recommend", "last", "--export", "more.csv", "--dataset", str(other))
        assert done.exit_code == 2
        assert "--dataset PATH" in done.stderr
    assert rows(tmp_path / "lists.csv")
    assert not (tmp_path / "more.csv").exists()


@pytest.mark.parametrize("item", ODD)
def test_an_item_is_named_by_any_id(made: tuple[Path, Workplace], item: str) -> None:
    with at(made[0]) as give:
        done = give("recommend", "last", "--item", item, "--k", "3", "--json")
    assert done.exit_code == 0, done.stderr
    assert item not in {line["item_id"] for line in json.loads(done.stdout)}


def test_history_and_items_are_one_or_the_other(made: tuple[Path, Workplace]) -> None:
    with at(made[0]) as give:
        for words in (("--history", "a", "--item", "b"), ("--item", "b", "--export", "x.csv"), ()):
            assert give("recommend", "last", *words).exit_code == 2
        by_list, by_item = (
            give("recommend", "last", *words, "--json") for words in (("--history", "007, -x"), ("--item", "007", "--item", "-x"))
        )
    assert by_list.stdout == by_item.stdout != ""


IDS = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12), min_size=15, max_size=15, unique=True
)


@settings(max_examples=15)
@given(ids=IDS)
def test_ids_of_any_characters_come_back_from_an_export(
    made: tuple[Path, Workplace], tmp_path_factory: pytest.TempPathFactory, ids: list[str]
) -> None:
    """Export, then import: the same lists, whatever the ids are."""
    root, workplace = made
    (folder,) = (root / "runs").iterdir()
    record = read_record(folder / "record.json")
    split = split_of(record, None, workplace)
    names = np.array(ids, dtype=object)
    users = np.array(ids[: len(split.user_ids)], dtype=object)
    renamed = replace_ids(split, names, users)
    run = LoadedRun.open(folder, registry.models().load("popularity"))
    run = LoadedRun(run.record, run.folder, run.recommender, names.tolist(), run.titles)
    path = tmp_path_factory.getbasetemp() / "ids.csv"
    run.export(path, renamed, SilentProgress(), k=15, views=("keep", "unseen"))
    placed = place_lists(read_lists(path), renamed, ("keep", "unseen"), replace(NEXT_ITEM, list_length=15))
    again = run.recommender.generate(renamed.test.queries(renamed.user_ids, ("keep", "unseen")), 15)
    assert (placed.rankings.items == again.items).all()


def replace_ids(split: Split, names: StringArray, users: StringArray) -> Split:
    """The same split of items and users with other ids."""
    return replace(split, items=replace(split.items, item_ids=names), user_ids=users)
