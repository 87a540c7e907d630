"""Files of records that figures are computed from, by name and sum. Light, for whoever only shows a record."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from recbench.core.errors import BadData
from recbench.core.records import CURVE_FILE, EXPOSURE_FILE, RANKS_FILE
from recbench.core.tuning import TUNE_LOG

SHARED = "shared"
OWN_FILES = (RANKS_FILE, EXPOSURE_FILE, CURVE_FILE, TUNE_LOG)
TARGETS, ITEMS = "targets-", "items-"
SHARED_FILES = (TARGETS, ITEMS)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class RunFiles(_Part):
    """What figures are computed from: the published files of a run.

    Attributes:
        run_id: of the record.
        folder: a run folder or one below BOARDS/records.
        task: name of the question that was asked.
        sums: sha256 of each file that the record names, by name, in the record's order.
    """

    run_id: str
    folder: Path
    task: str
    sums: dict[str, str]

    @property
    def split(self) -> str:
        """Equal for runs on one split; empty for a record that does not say."""
        return next((name for name in self.sums if name.startswith(TARGETS)), "")

    def place(self, name: str) -> Path:
        """Path of a file: in the folder, or among those that runs share beside it; its content is not looked at."""
        for folder in (self.folder, self.folder.parent / SHARED, self.folder.parent):
            if (folder / name).is_file():
                return folder / name
        raise BadData(f"{self.folder / name}: the record names this file, but it is not there. Restore it or run again with --again.")

    def name(self, prefix: str) -> str:
        """The first name that starts with `prefix`; a `BadData` where there is none."""
        for name in self.sums:
            if name.startswith(prefix):
                return name
        raise BadData(f"Record {self.run_id} names no file {prefix!r}. Run it again with --again.")


class Damage(_Part):
    """A file that is not what its record says, and what to do."""

    path: Path
    message: str
