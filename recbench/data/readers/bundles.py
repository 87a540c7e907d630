"""Sets of items that people put together, with what is known beside them; files in parquet or csv.

Roles and columns: `bundles` (bundle_id, item_id), `items` (item_id and texts), `groups` (bundle_id, session_id), `bundle_users` (user_id,
bundle_id), `feedback` (user_id, item_id), `features:NAME` with `feature_ids:NAME`, see `recbench.data.feature_files`.
"""

from collections.abc import Collection, Sequence

import numpy as np

from recbench.core.config import PluginConfig
from recbench.core.errors import BadData
from recbench.core.progress import Progress
from recbench.data.columns import read_items, read_pairs
from recbench.data.feature_files import read_features
from recbench.data.reader import Files, RawEvents, RawItems, RawSide


class BundlesOptions(PluginConfig):
    """There are none."""


class BundlesReader:
    """A row of the data set is a bundle; its id stands in place of a user's."""

    options = BundlesOptions
    needs = ("bundles",)
    has_complete_items = False

    def events(self, files: Files, options: BundlesOptions, progress: Progress) -> RawEvents:  # noqa: ARG002
        """One entry for each bundle and item."""
        return read_pairs(files["bundles"], "bundle_id", "item_id", parquet=True)

    def items(
        self,
        files: Files,
        options: BundlesOptions,  # noqa: ARG002
        columns: Sequence[str],
        wanted: Collection[str],  # noqa: ARG002
        progress: Progress,  # noqa: ARG002
    ) -> RawItems | None:
        """All rows of the role `items`."""
        path = files.get("items")
        return None if path is None else read_items(path, columns, parquet=True)

    def side(self, files: Files, options: BundlesOptions, progress: Progress) -> RawSide:  # noqa: ARG002
        """Whatever of the other roles there is."""
        groups = read_pairs(files["groups"], "bundle_id", "session_id", parquet=True) if "groups" in files else None
        return RawSide(
            None if groups is None else _group_of_each(groups, files["groups"].name),
            read_pairs(files["bundle_users"], "user_id", "bundle_id", parquet=True) if "bundle_users" in files else None,
            read_pairs(files["feedback"], "user_id", "item_id", parquet=True) if "feedback" in files else None,
            read_features(files),
        )


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
