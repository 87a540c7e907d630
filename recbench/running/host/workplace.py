"""Workplace of a command: folders of data, cache, runs and boards, and the display of its progress."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from recbench.core.home import cache_home, locks_below
from recbench.core.progress import Progress, SilentProgress


@dataclass(frozen=True)
class Workplace:
    """Folders of one command and the display of its progress.

    Attributes:
        home: cache of data sets and stages (`RECBENCH_HOME`; default: the platform's user cache folder).
        data: folder of ready data sets (`--data-dir` or `RECBENCH_DATA`), if any.
        runs: folder of run folders.
        boards: folder of leaderboards and their records.
        progress: display of long work such as downloads, training, ranking.
    """

    home: Path
    data: Path | None
    runs: Path
    boards: Path
    progress: Progress = field(default_factory=SilentProgress)

    @property
    def stages(self) -> Path:
        """Folder of finished stages in the cache."""
        return self.home / "stages"

    @property
    def locks(self) -> Path:
        """Folder of lock files of stages, runs and searches."""
        return locks_below(self.home)

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str] | None = None, *, data_dir: Path | None = None, progress: Progress | None = None
    ) -> "Workplace":
        """Read the folders from the environment; `data_dir` (the option) wins over `RECBENCH_DATA`. No progress: none is shown."""
        environ = os.environ if environ is None else environ
        data = data_dir or (Path(environ["RECBENCH_DATA"]) if environ.get("RECBENCH_DATA") else None)
        return cls(
            cache_home(environ),
            data,
            Path(environ.get("RECBENCH_RUNS") or "runs"),
            Path(environ.get("RECBENCH_BOARDS") or "leaderboards"),
            progress or SilentProgress(),
        )
