"""Folders of an invocation: cache, data, runs, boards."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs


@dataclass(frozen=True)
class Places:
    """Folders of one invocation.

    Attributes:
        home: cache of data sets and stages (`RECBENCH_HOME`; default: the platform's user cache folder).
        data: folder of ready data sets (`--data-dir` or `RECBENCH_DATA`), if any.
        runs: where run folders are written.
        boards: where leaderboards and their records live.
    """

    home: Path
    data: Path | None
    runs: Path
    boards: Path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None, *, data_dir: Path | None = None) -> "Places":
        """Read the environment; `data_dir` (the option) wins over `RECBENCH_DATA`."""
        environ = os.environ if environ is None else environ
        home = environ.get("RECBENCH_HOME") or platformdirs.user_cache_dir("recbench", appauthor=False)
        data = data_dir or (Path(environ["RECBENCH_DATA"]) if environ.get("RECBENCH_DATA") else None)
        return cls(
            Path(home).expanduser(),
            data,
            Path(environ.get("RECBENCH_RUNS") or "runs"),
            Path(environ.get("RECBENCH_BOARDS") or "leaderboards"),
        )
