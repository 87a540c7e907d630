"""Ready data in parquet: `interactions.parquet`, a file or a folder of parts, and `items.parquet` where there are texts."""

from collections.abc import Collection, Sequence

from recbench.core.config import PluginConfig
from recbench.core.progress import Progress
from recbench.data.columns import read_events, read_items
from recbench.data.reader import Files, RawEvents, RawItems


class ParquetOptions(PluginConfig):
    """There are none."""


class ParquetReader:
    """Columns user_id, item_id, timestamp (and position, rating, unix_time); item_id and texts. Others are ignored."""

    options = ParquetOptions
    needs = ("interactions",)
    has_complete_items = True

    def events(self, files: Files, options: ParquetOptions, progress: Progress) -> RawEvents:  # noqa: ARG002
        """All rows of the role `interactions`, in the order of the file."""
        return read_events(files["interactions"], parquet=True)

    def items(
        self,
        files: Files,
        options: ParquetOptions,  # noqa: ARG002
        columns: Sequence[str],
        wanted: Collection[str],  # noqa: ARG002
        progress: Progress,  # noqa: ARG002
    ) -> RawItems | None:
        """All rows of the role `items`, which may be csv."""
        path = files.get("items")
        return None if path is None else read_items(path, columns, parquet=True)


READER = ParquetReader()
