"""Ready data in parquet: `interactions.parquet`, and `items.parquet` where there are texts."""

from collections.abc import Collection, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from recbench.core.config import PluginConfig
from recbench.core.errors import BadData
from recbench.core.progress import Progress
from recbench.data.columns import events_from_table, items_from_table
from recbench.data.reader import Files, RawEvents, RawItems

_EVENT_COLUMNS = ("user_id", "item_id", "timestamp", "position", "rating")


class ParquetOptions(PluginConfig):
    """There are none."""


class ParquetReader:
    """Columns user_id, item_id, timestamp (and position, rating); item_id and texts. Others are ignored."""

    options = ParquetOptions
    needs = ("interactions",)
    has_complete_items = True

    def events(self, files: Files, options: ParquetOptions, progress: Progress) -> RawEvents:  # noqa: ARG002
        """All rows of the role `interactions`, in the order of the file."""
        path = files["interactions"]
        return events_from_table(_read(path, _EVENT_COLUMNS), path.name)

    def items(
        self,
        files: Files,
        options: ParquetOptions,  # noqa: ARG002
        columns: Sequence[str],
        wanted: Collection[str],  # noqa: ARG002
        progress: Progress,  # noqa: ARG002
    ) -> RawItems | None:
        """All rows of the role `items`."""
        path = files.get("items")
        return None if path is None else items_from_table(_read(path, ("item_id", *columns)), path.name, columns)


def _read(path: Path, columns: Sequence[str]) -> pa.Table:
    try:
        with pq.ParquetFile(path) as file:
            present = set(file.schema_arrow.names)
            return file.read(columns=[name for name in columns if name in present])
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise BadData(f"{path}: this is not a whole parquet file ({path.stat().st_size:,} bytes): {reason} Get it again.") from None


READER = ParquetReader()
