"""The catalogue of a run: ids and titles of its items, so that lists can be named without the data set."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from recbench.core.errors import BadData, refuse_exhaustion
from recbench.core.interactions import ItemTable

CATALOGUE_FILE = "catalogue.parquet"


def write_catalogue(items: ItemTable, folder: Path) -> None:
    """Write ids and titles of all items."""
    columns = []
    for values in (items.item_ids, items.titles()):
        # pa.array would do the same and import pandas first, half a second of every run.
        builder = pa.lib.StringBuilder()
        builder.append_values(list(values))
        columns.append(builder.finish())
    table = pa.table(columns, names=["item_id", "title"])
    pq.write_table(table, folder / CATALOGUE_FILE, compression="zstd")


def ids_digest(item_ids: Sequence[str]) -> str:
    """sha256 over the ids of a catalogue in their order: equal for equal catalogues, and says nothing about an id."""
    hasher = hashlib.sha256(b"recbench item ids 1\n")
    for item_id in item_ids:
        encoded = item_id.encode()
        hasher.update(len(encoded).to_bytes(4, "little") + encoded)
    return hasher.hexdigest()


def read_catalogue(path: Path, n_items: int) -> tuple[list[str], list[str | None]]:
    """Ids and titles of all items; a `BadData` where the file is damaged, or holds another number of items or one without its own id."""
    try:
        table = pq.read_table(path, columns=["item_id", "title"])
        strange = next((name for name in ("item_id", "title") if table[name].type != pa.string()), None)
        if strange is not None:
            raise BadData(f"{path}: its column {strange!r} holds {table[strange].type}, no texts. Restore it, or make the run again.")
        item_ids, titles = table["item_id"].to_pylist(), table["title"].to_pylist()
    except (pa.ArrowException, OSError, KeyError, UnicodeDecodeError) as error:
        refuse_exhaustion(error, path)
        raise BadData(f"{path} cannot be read: {str(error).splitlines()[0]} Restore it, or make the run again.") from None
    if len(item_ids) != n_items:
        raise BadData(f"{path} holds {len(item_ids)} items, the record says {n_items}. Restore it, or make the run again.")
    if None in item_ids or len(set(item_ids)) < n_items:
        raise BadData(f"{path} holds items without an id of their own. Restore it, or make the run again.")
    return item_ids, titles
