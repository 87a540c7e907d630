"""The folder of the cache and its parts that code outside of a run looks into."""

import os
from collections.abc import Mapping
from pathlib import Path

import platformdirs


def cache_home(environ: Mapping[str, str] | None = None) -> Path:
    """The cache of data sets, stages and converted models: `RECBENCH_HOME`, or the platform's user cache folder.

    Args:
        environ: variables to read; None: those of this process.
    """
    named = (os.environ if environ is None else environ).get("RECBENCH_HOME")
    return Path(named or platformdirs.user_cache_dir("recbench", appauthor=False)).expanduser()


def locks_below(home: Path) -> Path:
    """The folder of lock files of everything that is kept in the cache `home`."""
    return home / "stages" / "locks"


def converted_below(home: Path) -> Path:
    """The folder of models that `recbench cache add` converted into the cache `home`."""
    return home / "pretrained"
