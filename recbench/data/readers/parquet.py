"""Ready data in parquet: `interactions.parquet`, a file or a folder of parts, and `items.parquet` where there are texts."""

from collections.abc import Collection, Sequence

from recbench.core.config import PluginConfig
from recbench.core.progress import Progress
from recbench.data.columns import TableOptions, read_events, read_items, told_columns
from recbench.data.reader import Files, RawEvents, RawItems


class ParquetReader:
    """Columns user_id, item_id, timestamp (and position, rating, unix_time); item_id and texts. Others are ignored."""

    options: type[PluginConfig] = TableOptions
    needs = ("interactions",)
    has_complete_items = True

    def events(self, files: Files, options: TableOptions, progress: Progress) -> RawEvents:  # noqa: ARG002
        """All rows of the role `interactions`, in the order of the file."""
        return read_events(files["interactions"], options, parquet=True)

    def items(
        self,
        files: Files,
        options: TableOptions,
        columns: Sequence[str],
        wanted: Collection[str],  # noqa: ARG002
        progress: Progress,  # noqa: ARG002
    ) -> RawItems | None:
        """All rows of the role `items`, which may be csv."""
        path = files.get("items")
        return None if path is None else read_items(path, columns, options, parquet=True)

    def told(self, files: Files, options: TableOptions, columns: Sequence[str]) -> list[str]:
        """What the columns of each file are taken for."""
        return told_columns(files, options, columns, parquet=True)


READER = ParquetReader()
