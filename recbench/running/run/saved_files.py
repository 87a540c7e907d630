"""Checks of the files that `save` leaves: a record can name each of them, and each is whole."""

from pathlib import Path

from recbench.core.errors import PluginFailed
from recbench.core.records import is_plain_path


def refuse_unfit_files(folder: Path, model: str) -> None:
    """Refuse what a record cannot keep: links, which may lead elsewhere later, files that are none, and names that not every system writes.

    Args:
        folder: what `save` was given.
        model: the plugin's name, for sentences.

    Raises:
        PluginFailed: names the first such file.
    """
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise PluginFailed(f"Model {model!r}: save left the link {name!r}. Write the content itself.")
        if not is_plain_path(name):
            raise PluginFailed(
                f"Model {model!r}: save left a file called {name!r}, which a record cannot name. "
                "Use printable characters without a backslash."
            )
        if not path.is_file() and not path.is_dir():
            raise PluginFailed(f"Model {model!r}: save left {name!r}, which is no file, such as a pipe or a socket. Remove it.")
