"""Names from data that stand for files and folders: which of them every system can keep and show."""

import os
import re
from pathlib import PurePath, PurePosixPath

_NO_NAME = set('/\\:*?"<>|')
"""Characters that some system takes for part of a path, a drive or a pattern."""
_MOST_BYTES = 255
"""Of one name, as usual file systems have it."""
_MOST_BYTES_IN_ALL = 4000
"""Of a path; Linux takes 4,095, and what is asked for may be written beside others of longer names."""
_BYTES_LEFT = 55
"""Of one name, for the endings of files that are written under it."""
_NAME_OF_A_RUN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=+-]*")


def is_run_name(name: str) -> bool:
    """Whether a name of a run, a model or a data set can be part of a folder's name and of an address: letters, digits and _ . = + -"""
    return _NAME_OF_A_RUN.fullmatch(name) is not None and is_plain_name(name)


def is_plain_name(name: str) -> bool:
    """Whether a name stands for a file in one folder, on every system: no path, no drive, nothing that is not shown."""
    is_shown = name not in {"", ".", ".."} and name.isprintable() and not _NO_NAME & set(name)
    return is_shown and len(os.fsencode(name)) <= _MOST_BYTES - _BYTES_LEFT


def is_plain_path(name: str) -> bool:
    """Whether a name, with `/` between folders, stays below its folder and can be written and shown everywhere."""
    path = PurePosixPath(name)
    is_plain = name.isprintable() and "\\" not in name and path.as_posix() == name
    return is_plain and not path.is_absolute() and bool(path.parts) and ".." not in path.parts and is_short_enough(path)


def is_short_enough(path: PurePath) -> bool:
    """Whether no part of a path is longer than file systems take, nor the whole."""
    return max(map(len, map(os.fsencode, path.parts)), default=0) <= _MOST_BYTES and len(os.fsencode(path)) <= _MOST_BYTES_IN_ALL
