"""Ready data in csv: `interactions.csv` with a header, and `items.csv` where there are texts."""

from collections.abc import Collection, Sequence

from pydantic import Field

from recbench.core.progress import Progress
from recbench.data.columns import TableOptions, read_events, read_items, told_columns
from recbench.data.reader import Files, RawEvents, RawItems


class CsvOptions(TableOptions):
    """How the files are written."""

    delimiter: str = Field(default=",", min_length=1, max_length=1)
    """Character between two values."""


class CsvReader:
    """Columns user_id, item_id, timestamp (and position, rating, unix_time); item_id and texts. Others are ignored."""

    options = CsvOptions
    needs = ("interactions",)
    has_complete_items = True

    def events(self, files: Files, options: CsvOptions, progress: Progress) -> RawEvents:  # noqa: ARG002
        """All rows of the role `interactions`, in the order of the file."""
        return read_events(files["interactions"], options, parquet=False, delimiter=options.delimiter)

    def items(
        self,
        files: Files,
        options: CsvOptions,
        columns: Sequence[str],
        wanted: Collection[str],  # noqa: ARG002
        progress: Progress,  # noqa: ARG002
    ) -> RawItems | None:
        """All rows of the role `items`, which may be parquet."""
        path = files.get("items")
        return None if path is None else read_items(path, columns, options, parquet=False, delimiter=options.delimiter)

    def told(self, files: Files, options: CsvOptions, columns: Sequence[str]) -> list[str]:
        """What the columns of each file are taken for."""
        return told_columns(files, options, columns, parquet=False, delimiter=options.delimiter)


READER = CsvReader()
