"""Files of a folder that change together: whoever is killed leaves all of them as they were, or decided.

FOLDER/.writing/   new files under their names, not yet decided, or all in place; the next command throws it away
FOLDER/.written/   the same, decided by renaming the folder above; the next command moves what is left of them into place
"""

import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

_WRITING, _WRITTEN = ".writing", ".written"
_REMOVED = ".removed.json"


def write_together(folder: Path, files: Mapping[str, bytes | Path], removed: Collection[str] = ()) -> None:
    """Put new or changed files into a folder, and take others away, as one step.

    Args:
        folder: made where there is none.
        files: by their path below `folder`, with `/` between its parts: the content, or a file to copy.
        removed: paths of files to take away.
    """
    finish_writing(folder)
    if not files and not removed:
        return
    writing = folder / _WRITING
    writing.mkdir(parents=True)
    try:
        for name, content in files.items():
            target = writing / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, target)
            else:
                target.write_bytes(content)
        (writing / _REMOVED).write_text(json.dumps(sorted(removed)), encoding="utf-8")
        writing.rename(folder / _WRITTEN)
    except BaseException:
        shutil.rmtree(writing, ignore_errors=True)
        raise
    finish_writing(folder)


def finish_writing(folder: Path) -> None:
    """Do what a command that was killed had decided, and throw away what it had not."""
    writing, written = folder / _WRITING, folder / _WRITTEN
    shutil.rmtree(writing, ignore_errors=True)
    if not is_half_written(folder):
        return
    # Doing any of this twice changes nothing: a kill in here is made good by the next command.
    for name in json.loads((written / _REMOVED).read_text(encoding="utf-8")):
        (folder / name).unlink(missing_ok=True)
    for file in sorted(path for path in written.rglob("*") if path.is_file() and path.name != _REMOVED):
        target = folder / file.relative_to(written)
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)
    written.rename(writing)
    shutil.rmtree(writing)


def is_half_written(folder: Path) -> bool:
    """Whether a killed command left files that are decided and not all in place."""
    return (folder / _WRITTEN).is_dir()
