"""Folders that belong to one process until it gives them another name."""

import os
import platform
import shutil
from pathlib import Path

import psutil

_CLOCK_S = 2.0
"""Largest difference between the clocks of a file system and of processes."""


def own_folder(parent: Path, name: str) -> Path:
    """A new folder `PARENT/NAME-NODE-PID` of this process; such folders of processes that were killed are removed.

    Several machines may share the parent: which processes live can only be asked of one's own.
    """
    prefix = f"{name}-{platform.node()}-"
    for folder in parent.glob(f"{prefix}*"):
        owner = folder.name.removeprefix(prefix)
        if owner == str(os.getpid()) or not (owner.isdigit() and _is_alive(int(owner), folder)):
            shutil.rmtree(folder, ignore_errors=True)
    folder = parent / f"{prefix}{os.getpid()}"
    folder.mkdir(parents=True)
    return folder


def _is_alive(pid: int, folder: Path) -> bool:
    """Whether the process that made a folder still runs; one that began after the folder's last change only has its number."""
    try:
        return psutil.Process(pid).create_time() <= folder.stat().st_mtime + _CLOCK_S
    except (psutil.NoSuchProcess, FileNotFoundError):
        return False
    except psutil.AccessDenied:
        return True
