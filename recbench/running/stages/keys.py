"""Parts of a stage key: hashes of values, files and sources."""

import hashlib
import inspect
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbench.about import FOLDER
from recbench.core.config import PluginConfig, hash_value
from recbench.core.containment import contained
from recbench.core.digests import file_sha256
from recbench.core.errors import BadRequest, PluginFailed
from recbench.running.stages.outside_modules import came_along, imported_from_outside, imports_of, shaping_files

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LARGE_BYTES = 64 << 20
_SOURCE_SUFFIXES = {".py", ".toml", ".jinja", ".json"}


def hash_times(*parts: "NDArray[np.int64] | None") -> str:
    """sha256 of the time stamps of some parts of a split, in their order; None where a part has none."""
    return hash_value([None if part is None else hashlib.sha256(part.astype("<i8").tobytes()).hexdigest() for part in parts])


def hash_path(path: Path) -> str:
    """sha256 of a file, or of the names and contents of all files below a folder; a `BadRequest` where there is neither."""
    if not path.exists():
        raise BadRequest(f"{path}: there is no such file or folder. Check the path.")
    if path.is_file():
        return _hash_once(path)
    return hash_value({file.relative_to(path).as_posix(): _hash_once(file) for file in sorted(path.rglob("*")) if file.is_file()})


def _hash_once(path: Path) -> str:
    """sha256 of a file's bytes; a large one is read once per process while its size and time of change stay."""
    status = path.stat()
    if status.st_size < _LARGE_BYTES:
        return file_sha256(path)
    return _hash_of_state(path.resolve(), status.st_size, status.st_mtime_ns)


@cache
def _hash_of_state(path: Path, size: int, mtime_ns: int) -> str:  # noqa: ARG001 (part of the cache's key)
    return file_sha256(path)


def named_content(config: PluginConfig) -> dict[str, Any]:
    """Content that settings name, for a key: hashes of files and folders, and exact revisions; empty where they name nothing.

    Raises:
        BadRequest: something named is not there and cannot be had.
    """
    with contained(f"settings {type(config).__name__}", "named_files and named_revisions"):
        files, revisions = [Path(path) for path in config.named_files()], dict(config.named_revisions())
    content: dict[str, Any] = {"files": [hash_path(path) for path in files]} if files else {}
    return content | ({"revisions": revisions} if revisions else {})


def hash_sources(*folders: Path) -> str:
    """sha256 of the source files below some folders; caches, tests' leftovers and READMEs do not count."""
    return hash_value([{name: file_sha256(file) for name, file in _source_files(folder)} for folder in folders])


def plugin_source_hash(folder: Path) -> str:
    """sha256 of all that a plugin's results follow from besides settings and data.

    That is every file below its folder, all modules of `recbench.nn` that define what it imports, and for a plugin that did not come
    along with recbench also the modules that it imports from elsewhere: by content, or by version where they are part of an installed
    distribution. A fix in a shared loss or search must not leave old weights in the cache; a change in a part the plugin does not use
    must not throw weights away. The card does not count: what it says that shapes a result is in the resolved settings, and a
    published number added to it changes no model. Neither do README.md, tests and hidden files.

    Modules that only a changed `sys.path` can find are found once the plugin has imported them; `build` it first.
    """
    files = shaping_files(folder)
    parts: dict[str, Any] = {
        "plugin": {name: _hash_once(file) for name, file in files.items()},
        "nn": {name: file_sha256(path) for name, path in sorted(_reached(files.values()).items())},
    }
    if not came_along(folder):
        outside = imported_from_outside(folder)
        parts["outside"] = {name: {key: _hash_once(file) for key, file in found.items()} for name, found in outside.files.items()}
        parts["libraries"] = outside.versions
    return hash_value(parts)


def module_source_hash(file: Path) -> str:
    """sha256 of one module's source and of all modules of `recbench.nn` that it reaches through imports."""
    return hash_value({"module": file_sha256(file), "nn": {name: file_sha256(path) for name, path in sorted(_reached([file]).items())}})


def source_hash_of(offered: object) -> str:
    """sha256 of the sources behind a function or an object that another distribution may offer: those of the module that defines it.

    Raises:
        PluginFailed: no file defines it.
    """
    module = inspect.getmodule(offered)
    if module is None or getattr(module, "__file__", None) is None:
        raise PluginFailed(f"No file defines {offered!r}, so nobody could see that it changed. Define it in a module.")
    return module_source_hash(Path(inspect.getfile(module)).resolve())


def _source_files(folder: Path) -> list[tuple[str, Path]]:
    files = (path for path in sorted(folder.rglob("*")) if path.suffix in _SOURCE_SUFFIXES and "__pycache__" not in path.parts)
    return [(path.relative_to(folder).as_posix(), path) for path in files]


def _reached(files: Iterable[Path]) -> dict[str, Path]:
    """Files of `recbench.nn` that define what these files import, directly or through each other, by their path in it."""
    found: dict[str, Path] = {}
    waiting = [file for file in files if file.suffix == ".py"]
    while waiting:
        for name in imports_of(waiting.pop()):
            path = _nn_file(name)
            if path is not None and path not in found.values():
                found[path.relative_to(FOLDER).as_posix()] = path
                waiting.append(path)
    return found


def _nn_file(name: str) -> Path | None:
    """The file of `recbench.nn` that defines an imported name; a package's own where it is the package, None for what is not in there."""
    parts = name.split(".")
    if parts[:2] != ["recbench", "nn"]:
        return None
    place = FOLDER / "nn"
    for part in parts[2:]:
        if (place / f"{part}.py").is_file():
            return place / f"{part}.py"
        if not (place / part).is_dir():
            # A name that the package hands on counts where it is defined, so that what else the package offers does not.
            homes = (line for line in imports_of(place / "__init__.py") if line.endswith(f".{part}"))
            return _nn_file(next(homes, "")) or place / "__init__.py"
        place /= part
    return place / "__init__.py"
