"""Sets of items that people put together, with what is known beside them; files in parquet or csv.

Roles and columns: `bundles` (bundle_id, item_id; part and is_input where the data come divided), `items` (item_id and texts), `groups`
(bundle_id, session_id), `bundle_users` (user_id, bundle_id), `feedback` (user_id, item_id), `features:NAME` with `feature_ids:NAME`, see
`recbench.data.feature_files`.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from recbench.core.config import PluginConfig
from recbench.core.errors import BadData
from recbench.core.progress import Progress
from recbench.data.columns import TableOptions, read_columns, read_pairs
from recbench.data.feature_files import read_features
from recbench.data.reader import Files, RawCut, RawEvents, RawItems, RawSide, each_once
from recbench.data.readers.parquet import ParquetReader

_DIVIDED = ("bundle_id", "item_id", "part", "is_input")
"""Columns of a table of bundles that come divided."""
_IS_SHOWN = {"1": True, "true": True, "0": False, "false": False}
"""What `is_input` says of a held bundle's item."""


class BundlesOptions(PluginConfig):
    """There are none."""


class BundlesReader(ParquetReader):
    """A row of the data set is a bundle; its id stands in place of a user's. The table of items is that of any ready data."""

    options: type[PluginConfig] = BundlesOptions
    needs = ("bundles",)
    has_complete_items = False

    def events(self, files: Files, options: PluginConfig, progress: Progress) -> RawEvents:  # noqa: ARG002
        """One entry for each bundle and item."""
        return each_once(read_pairs(files["bundles"], "bundle_id", "item_id", parquet=True))

    def items(
        self,
        files: Files,
        options: PluginConfig,  # noqa: ARG002
        columns: Sequence[str],
        wanted: Collection[str],
        progress: Progress,
    ) -> RawItems | None:
        """All rows of the role `items`."""
        return super().items(files, TableOptions(), columns, wanted, progress)

    def told(self, files: Files, options: PluginConfig, columns: Sequence[str]) -> list[str]:  # noqa: ARG002
        """What the columns of the role `items` are taken for."""
        return super().told(files, TableOptions(), columns)

    def side(self, files: Files, options: PluginConfig, progress: Progress) -> RawSide:  # noqa: ARG002
        """Whatever of the other roles there is."""
        groups = read_pairs(files["groups"], "bundle_id", "session_id", parquet=True) if "groups" in files else None
        return RawSide(
            None if groups is None else _group_of_each(groups, files["groups"].name),
            read_pairs(files["bundle_users"], "user_id", "bundle_id", parquet=True) if "bundle_users" in files else None,
            read_pairs(files["feedback"], "user_id", "item_id", parquet=True) if "feedback" in files else None,
            read_features(files),
            _cut(files["bundles"]),
        )


def _cut(path: Path) -> RawCut | None:
    """The division that the table of bundles tells in `part` (train, valid or test) and `is_input` (0 or 1)."""
    table = read_columns(path, _DIVIDED, needed=("bundle_id", "item_id"), parquet=True)
    if "part" not in table.column_names:
        return None
    if "is_input" not in table.column_names:
        raise BadData(f"{path.name} has a column part and none that says which items are shown. Add is_input, 1 for those, else 0.")
    bundle, item, part, shown = (table.column(name).cast(pa.large_string()).to_pylist() for name in _DIVIDED)
    parts = dict(zip(bundle, part, strict=True))
    divided = [name for name, value in zip(bundle, part, strict=True) if parts[name] != value]
    if divided:
        raise BadData(f"{path.name}: bundle {divided[0]!r} is in two parts. Write the same part in all of its rows.")
    said: dict[tuple[str, str], bool] = {}
    for name, one, value in zip(bundle, item, shown, strict=True):
        if parts[name] == "train":  # nothing of it is asked for
            continue
        if value is None or value.lower() not in _IS_SHOWN:
            raise BadData(f"{path.name}: is_input is {str(value)!r} somewhere. Write 1 for an item that is shown, else 0.")
        is_shown = _IS_SHOWN[value.lower()]
        if said.setdefault((name, one), is_shown) != is_shown:
            raise BadData(f"{path.name}: bundle {name!r} shows item {one!r} in one row and asks for it in another. Keep one of the two.")
    return RawCut(parts, frozenset(pair for pair, is_shown in said.items() if is_shown))


def _group_of_each(pairs: RawEvents, file: str) -> dict[str, str]:
    """Group by bundle; a bundle in two groups would stand in two parts of a split."""
    bundle, group = pairs.user_ids[pairs.user], pairs.item_ids[pairs.item]
    found: dict[str, str] = {}
    for row in np.arange(len(bundle)).tolist():
        if found.setdefault(bundle[row], group[row]) != group[row]:
            raise BadData(
                f"{file}: bundle {bundle[row]!r} is in the groups {found[bundle[row]]!r} and {group[row]!r}. A bundle belongs to one group."
            )
    return found


READER = BundlesReader()
