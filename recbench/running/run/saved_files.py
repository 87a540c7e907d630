"""Checks of the files that `save` leaves: a record can name each of them, and each is whole."""

import contextlib
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path

from recbench.core.errors import PluginFailed
from recbench.core.file_names import is_plain_path


def refuse_unfit_files(folder: Path, model: str) -> None:
    """Refuse what a record cannot keep: links, which may lead elsewhere later, files that are none or are still being written, and names
    that not every system writes.

    Args:
        folder: folder that `save` was given.
        model: the plugin's name, for sentences.

    Raises:
        PluginFailed: names the first such file.
    """
    paths = sorted(folder.rglob("*"))
    for path in paths:
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise PluginFailed(f"Model {model!r}: save left the link {name!r}. Write the content itself.")
        if not is_plain_path(name):
            raise PluginFailed(
                f"Model {model!r}: save left a file called {name!r}, which a record cannot name. "
                "Use printable characters without a backslash, at most 255 bytes between two slashes."
            )
        if not path.is_file() and not path.is_dir():
            raise PluginFailed(f"Model {model!r}: save left {name!r}, which is no file, such as a pipe or a socket. Remove it.")
    unfinished = _still_written(paths)
    if unfinished is not None:
        name = unfinished.relative_to(folder).as_posix()
        raise PluginFailed(f"Model {model!r}: save left {name!r} open for writing, so that it may not be whole. Close it in save.")


def _still_written(paths: Iterable[Path]) -> Path | None:
    """The first of these files that this process holds open for writing; what it has not flushed would miss in the file's sum."""
    held = set()
    for number in map(int, os.listdir("/dev/fd")):  # noqa: PTH208 (numbers, not files)
        with contextlib.suppress(OSError):  # the one by which the listing was made
            status = os.fstat(number)
            if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY:
                held.add((status.st_dev, status.st_ino))
    for path in paths:
        status = path.stat()
        if (status.st_dev, status.st_ino) in held:
            return path
    return None
