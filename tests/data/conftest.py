"""Small data sets on disk, read through the public interface."""

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recbench.core import SilentProgress
from recbench.data import Dataset, locate, read_dataset

Row = tuple[str, str, int]
Write = Callable[..., Path]
Read = Callable[..., Dataset]


@pytest.fixture
def write_folder(tmp_path: Path) -> Write:
    """Writes a folder in the ready layout; rows are (user, item, time), items map column -> values."""

    def write(
        rows: Sequence[Row], items: Mapping[str, Sequence[Any]] | None = None, *, name: str = "mine", extra: Mapping[str, Any] | None = None
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        users, item_ids, times = zip(*rows, strict=True) if rows else ((), (), ())
        columns = {
            "user_id": pa.array(users, pa.string()),
            "item_id": pa.array(item_ids, pa.string()),
            "timestamp": pa.array(times, pa.int64()),
        }
        pq.write_table(pa.table(columns | dict(extra or {})), folder / "interactions.parquet")
        if items is not None:
            pq.write_table(pa.table(dict(items)), folder / "items.parquet")
        return folder

    return write


@pytest.fixture
def write_tables(tmp_path: Path) -> Write:
    """Writes a folder of tables by name, each a mapping of columns, as parquet or csv."""

    def write(tables: Mapping[str, Mapping[str, Sequence[Any]]], *, name: str = "mine", ending: str = "parquet") -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        for table, columns in tables.items():
            if ending == "parquet":
                pq.write_table(pa.table(dict(columns)), folder / f"{table}.parquet")
            else:
                with (folder / f"{table}.csv").open("w", newline="", encoding="utf-8") as stream:
                    csv.writer(stream).writerows([list(columns), *zip(*columns.values(), strict=True)])
        return folder

    return write


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Locates without fetching and reads."""

    def read_it(name_or_path: str | Path, *, data_dir: Path | None = None) -> Dataset:
        progress = SilentProgress()
        located = locate(str(name_or_path), data_dir=data_dir, home=tmp_path / "home", progress=progress, fetch=False)
        return read_dataset(located, progress)

    return read_it


@pytest.fixture
def write_card(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a card called `mine.toml`; the text follows the keys that every card needs."""

    def write(text: str, *, reader: str = "parquet", time: str = "seconds") -> Path:
        path = tmp_path / "mine.toml"
        path.write_text(f'name = "mine"\ntitle = "Mine"\nterms = "none"\nreader = "{reader}"\ntime = "{time}"\n{text}\n', encoding="utf-8")
        return path

    return write


@pytest.fixture
def real_data() -> Path:
    """The folder of real data sets."""
    return Path(os.environ["RECBENCH_DATA"])
